"""What goes wrong in Keras 3 with the weights of rows, goes right here.

`TRAPS.md` lists them.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from keras_trainsteps import LossAwareModel, LossTerm
from tests.toy import (
    BATCH,
    L2,
    MSE,
    QUERIES,
    ROWS,
    SQUARES,
    WEIGHTS,
    X,
    Y,
    close,
    dense,
    fit,
    hooked,
    network,
    squares,
    still,
)


def weighted_term(x, y, y_pred, sample_weight):
    total = ops.sum(sample_weight * ops.square(y_pred - y)[:, 0])
    return {"squares": LossTerm(total, ops.sum(sample_weight))}


BY_ROWS, BY_WEIGHTS = np.mean(WEIGHTS * SQUARES), np.average(SQUARES, weights=WEIGHTS)
DENOMINATORS = {
    "hook": (hooked(squares), None, BY_ROWS),
    "compiled": (LossAwareModel, "mse", BY_ROWS),
    "term of the hook": (hooked(weighted_term, weighted=True), None, BY_WEIGHTS),
    "compiled by weights": (
        LossAwareModel,
        keras.losses.MeanSquaredError(reduction="mean_with_sample_weight"),
        BY_WEIGHTS,
    ),
}


@pytest.mark.parametrize(("cls", "loss", "expected"), DENOMINATORS.values(), ids=DENOMINATORS)
def test_sample_weight_has_the_denominator_that_is_stated(cls, loss, expected):
    model = still(network(cls), loss=loss, weighted_metrics=["mse"])
    history = fit(model, sample_weight=WEIGHTS)
    assert history["loss"] == [close(expected)]
    assert history["mse"] == [close(BY_WEIGHTS)]


@pytest.mark.parametrize("mode", [{}, {"run_eagerly": True}, {"jit_compile": True}])
@pytest.mark.parametrize("cls", [hooked(squares), LossAwareModel], ids=["hook", "compiled"])
def test_negative_weights_as_of_policy_gradients_count(cls, mode):
    advantages = np.where(np.arange(ROWS) % 3 == 0, -WEIGHTS, WEIGHTS)
    model = still(network(cls), loss="mse" if cls is LossAwareModel else None, **mode)
    history = model.fit(X, Y, sample_weight=advantages, batch_size=5, verbose=0).history
    assert history["loss"] == [close(np.mean(advantages * SQUARES))]


@pytest.mark.parametrize("dtype", ["bool", "int64", "float64"])
def test_sample_weight_of_any_dtype_counts(dtype):
    weights = (np.arange(ROWS) % 2).astype(dtype)
    expected = SQUARES[1::2].sum() / ROWS
    model = still(network(hooked(squares)))
    assert fit(model, sample_weight=weights)["loss"] == [close(expected)]


def test_batches_with_and_without_weights_are_unpacked():
    model = still(network(hooked(squares)))
    assert model.train_on_batch(X, Y)[0] == close(MSE)
    weighted = close(np.mean(WEIGHTS * SQUARES))
    assert model.train_on_batch(X, Y, sample_weight=WEIGHTS)[0] == weighted
    assert fit(model, sample_weight=WEIGHTS)["loss"] == [weighted]


def test_train_on_batch_takes_float64_as_fit_does():
    model = still(network(hooked(lambda x, y, p: {"costly": x["cost"] * ops.square(p - y)})))
    x = {"features": X.astype("float64"), "cost": WEIGHTS[:, None]}
    expected = close(np.mean(WEIGHTS * SQUARES))
    for step in (model.train_on_batch, model.test_on_batch):
        logs = step(x, Y.astype("float64"), return_dict=True)
        assert logs == {"loss": expected, "costly": expected}


def test_batches_of_four_parts_are_refused():
    rows = tf.data.Dataset.from_tensor_slices((X, Y, WEIGHTS, QUERIES)).batch(BATCH)
    with pytest.raises(ValueError, match="Data is expected to be in format"):
        still(network(hooked(squares))).fit(rows, shuffle=False, verbose=0)


@pytest.mark.parametrize("options", [{}, {"loss": "mse"}], ids=["hook", "compiled"])
def test_zero_weights_leave_the_regularization_alone(options):
    layer = {"kernel_regularizer": keras.regularizers.L2(1.0)}
    model = network(**layer) if options else network(hooked(squares), **layer)
    history = fit(still(model, **options), sample_weight=np.zeros(ROWS))
    assert (history["loss"], history["regularization"]) == ([close(L2)], [close(L2)])


def test_added_losses_are_not_weighted():
    class Adds(keras.layers.Layer):
        def call(self, inputs):
            self.add_loss(1.0 + 0.0 * ops.sum(inputs))
            return inputs

    inputs = keras.Input((3,))
    model = still(LossAwareModel(inputs, dense()(Adds()(inputs))), loss="mse")
    assert fit(model, sample_weight=np.zeros(ROWS))["loss"] == [close(1.0)]


def test_a_penalty_of_weights_is_a_term_that_no_sample_weight_multiplies():
    class Penalized(LossAwareModel):
        def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
            penalty = ops.sum(ops.square(self.layers[-1].kernel))
            return {"penalty": penalty, "squares": ops.square(y_pred - y)}

    history = fit(still(network(Penalized)), sample_weight=np.full(ROWS, 5.0))
    assert history["penalty"] == [close(L2)]
    assert history["loss"] == [close(5 * MSE + L2)]
