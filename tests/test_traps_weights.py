"""What goes wrong in Keras 3 with the weights of rows, goes right here.

Parameters are named by rows of the table of traps, see `test_traps.py`.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from keras_trainsteps import LossAwareModel, LossTerm
from tests.test_traps import (
    BATCH,
    L2,
    MSE,
    ROWS,
    SQUARES,
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
from tests.test_traps_inputs import QUERIES, WEIGHTS

PARTS = {
    "2.14-hook": (squares, None, np.mean(WEIGHTS * SQUARES)),
    "1.19-compiled": (None, "mse", np.mean(WEIGHTS * SQUARES)),
    "2.34-term": (
        lambda x, y, p, w: {
            "squares": LossTerm(ops.sum(w * ops.square(p - y)[:, 0]), ops.sum(w))
        },
        None,
        np.average(SQUARES, weights=WEIGHTS),
    ),
    "2.34-compiled": (
        None,
        keras.losses.MeanSquaredError(reduction="mean_with_sample_weight"),
        np.average(SQUARES, weights=WEIGHTS),
    ),
}


@pytest.mark.parametrize(("hook", "loss", "expected"), PARTS.values(), ids=PARTS)
def test_sample_weight_has_the_denominator_that_is_stated(hook, loss, expected):
    model = still(hooked(hook) if hook else network(), loss=loss, weighted_metrics=["mse"])
    history = fit(model, sample_weight=WEIGHTS)
    assert history["loss"] == [close(expected)]
    assert history["mse"] == [close(np.average(SQUARES, weights=WEIGHTS))]


@pytest.mark.parametrize("dtype", ["bool", "int64", "float64"])
def test_2_14_sample_weight_of_any_dtype_counts(dtype):
    weights = (np.arange(ROWS) % 2).astype(dtype)
    expected = SQUARES[1::2].sum() / ROWS
    assert fit(still(hooked(squares)), sample_weight=weights)["loss"] == [close(expected)]


@pytest.mark.parametrize("weight", [-1.0, np.nan])
def test_2_14_weights_that_are_none_are_refused(weight):
    model = still(hooked(squares))
    with pytest.raises(ValueError, match=r"`sample_weight` must be .*not negative"):
        fit(model, sample_weight=np.full(ROWS, weight))
    assert int(model.optimizer.iterations) == 0


def test_1_22_2_15_batches_with_and_without_weights_are_unpacked():
    model = still(hooked(squares))
    assert model.train_on_batch(X, Y)[0] == close(MSE)
    weighted = close(np.mean(WEIGHTS * SQUARES))
    assert model.train_on_batch(X, Y, sample_weight=WEIGHTS)[0] == weighted
    assert fit(model, sample_weight=WEIGHTS)["loss"] == [weighted]


def test_2_15_train_on_batch_takes_float64_as_fit_does():
    model = still(hooked(lambda x, y, p, w: {"costly": x["cost"] * ops.square(p - y)}))
    x = {"features": X.astype("float64"), "cost": WEIGHTS[:, None]}
    expected = close(np.mean(WEIGHTS * SQUARES))
    for step in (model.train_on_batch, model.test_on_batch):
        assert step(x, Y.astype("float64"))[0] == expected


def test_1_23_batches_of_four_parts_are_refused():
    rows = tf.data.Dataset.from_tensor_slices((X, Y, WEIGHTS, QUERIES)).batch(BATCH)
    with pytest.raises(ValueError, match="Data is expected to be in format"):
        still(hooked(squares)).fit(rows, shuffle=False, verbose=0)


@pytest.mark.parametrize("options", [{}, {"loss": "mse"}], ids=["hook", "compiled"])
def test_1_45_zero_weights_leave_the_regularization_alone(options):
    layer = {"kernel_regularizer": keras.regularizers.L2(1.0)}
    model = network(**layer) if options else hooked(squares, **layer)
    history = fit(still(model, **options), sample_weight=np.zeros(ROWS))
    assert (history["loss"], history["regularization"]) == ([close(L2)], [close(L2)])


def test_1_46_added_losses_are_not_weighted():
    class Adds(keras.layers.Layer):
        def call(self, inputs):
            self.add_loss(1.0 + 0.0 * ops.sum(inputs))
            return inputs

    inputs = keras.Input((3,))
    model = still(LossAwareModel(inputs, dense()(Adds()(inputs))), loss="mse")
    assert fit(model, sample_weight=np.zeros(ROWS))["loss"] == [close(1.0)]


def test_1_32_2_24_a_penalty_of_weights_is_a_term_that_no_sample_weight_multiplies():
    class Penalized(LossAwareModel):
        def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
            penalty = ops.sum(ops.square(self.layers[-1].kernel))
            return {"penalty": penalty, "squares": ops.square(y_pred - y)}

    history = fit(still(network(Penalized)), sample_weight=np.full(ROWS, 5.0))
    assert history["penalty"] == [close(L2)]
    assert history["loss"] == [close(5 * MSE + L2)]


@pytest.mark.parametrize("batch_size", [0, -1])
def test_a_batch_size_below_1_is_refused(batch_size):
    model = still(hooked(squares))
    for method in (model.fit, model.evaluate):
        with pytest.raises(ValueError, match=r"`batch_size` must be .*at least 1"):
            method(X, Y, batch_size=batch_size, verbose=0)
