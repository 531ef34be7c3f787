"""Edges of `LossAwareModel`: what reaches the network, the hook and an overridden loss."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from keras_trainsteps import LossAwareModel, LossAwareSequential, LossTerm, losses, metrics
from tests.toy import (
    ABSOLUTE,
    MSE,
    SQUARES,
    WEIGHTS,
    X,
    Y,
    calls_by_hand,
    close,
    evaluate,
    fit,
    hooked,
    network,
    still,
)

IDS = np.array([0, 0, 0, 0, 1, 1, 1, 1, 2, 2])  # whole in batches of 4
CUT = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2, 2])  # 1 and 2 lie in two batches of 4


# What reaches the network


def test_a_call_by_keyword_leaves_side_inputs_out():
    Called, seen = calls_by_hand(side_inputs=["query_id"])
    Called()(inputs={"features": X, "query_id": IDS})
    assert seen
    assert all(keys == ["features"] for keys in seen)


def test_side_inputs_that_only_a_metric_names_never_reach_call():
    Called, seen = calls_by_hand()
    model = still(Called(), loss="mse", metrics=[metrics.NDCG("query_id")])
    fit(model, {"features": X, "query_id": IDS}, np.abs(Y))
    assert seen
    assert all(keys == ["features"] for keys in seen)


def test_side_inputs_that_only_a_metric_names_never_reach_a_sequential_model():
    model = LossAwareSequential([keras.layers.Dense(1)])
    still(model, loss="mse", metrics=[metrics.NDCG("query_id")])
    fit(model, {"features": X, "query_id": IDS}, np.abs(Y))
    assert model.count_params() == 3 + 1


# Queries that batches cut


def test_the_warning_of_cut_queries_covers_ids_that_only_a_metric_names():
    ndcg = metrics.NDCG("query_id", split_queries="count_parts")
    model = still(network(), loss="mse", metrics=[ndcg])
    with pytest.warns(UserWarning, match="2 of 3 queries of `query_id` have rows"):
        fit(model, {"features": X, "query_id": CUT}, np.abs(Y))


def test_rows_outside_the_mask_of_a_metric_cut_no_query():
    mask = np.array([True, True, True, False, True, True, False, False, True, True])
    model = still(network(), loss="mse", metrics=[metrics.NDCG("query_id", mask="mask")])
    x = {"features": X, "query_id": CUT, "mask": mask}
    whole = {name: value[mask] for name, value in x.items()}
    expected = evaluate(model, whole, np.abs(Y)[mask], batch_size=10)["ndcg"]
    assert evaluate(model, x, np.abs(Y))["ndcg"] == close(expected)


# Checks at the end of an epoch


class Longer(LossAwareModel):
    """A step that goes on after that of the library, and looks at the metrics."""

    def train_step(self, data):
        super().train_step(data)
        return self.get_metrics_result()


@pytest.mark.parametrize("base", [LossAwareModel, Longer], ids=["own step", "step around it"])
def test_an_eager_batch_with_nothing_to_count_is_no_empty_epoch(base):
    def hook(x, y, y_pred):
        counts = ops.cast(x["counts"], "float32")
        return {"counted": LossTerm(ops.sum(counts * y_pred[:, 0]), ops.sum(counts))}

    counts = np.array([0] * 4 + [1] * 6, "float32")
    model = still(network(hooked(hook, base=base, side_inputs=["counts"])), run_eagerly=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        history = fit(model, {"features": X, "counts": counts})
    assert history["counted"] == [close(X[4:].astype("float64").sum() / 6)]


# Weights of terms


def test_a_single_compiled_loss_is_no_term_of_its_own():
    model = still(network(), loss=losses.ListMLE("query_id"))
    history = fit(model, {"features": X, "query_id": IDS}, np.abs(Y))
    assert sorted(history) == ["loss"]
    assert model.term_weights == {}


def test_term_weights_are_those_of_what_is_logged_and_1_by_default():
    variable = keras.Variable(0.5)
    weights = {"mse_loss": 2.0, "mae_loss": variable}
    model = network()
    still(model, loss=["mse", "mae", "log_cosh"], loss_weights=weights)
    assert model.term_weights == {}  # no step has run
    evaluate(model)
    found = dict(model.term_weights)
    assert found.pop("mae_loss") is variable
    assert found == {"mse_loss": 2.0, "log_cosh_loss": 1.0}


@pytest.mark.parametrize("name", [None, "mse_loss"], ids=["alone", "by name"])
def test_a_loss_weight_that_is_a_tf_variable_is_known_to_keras_as_its_number(name):
    weight = tf.Variable(3.0)
    model = still(
        network(), loss=["mse"], loss_weights=[weight] if name is None else {name: weight}
    )
    saved = model.get_compile_config()["loss_weights"]
    assert saved == ([3.0] if name is None else {name: 3.0})
    assert evaluate(model)["loss"] == close(3 * MSE)


# The hook


@pytest.mark.parametrize("kind", ["loss", "metric"])
def test_a_term_of_the_hook_with_the_name_of_what_was_added_is_refused(kind):
    model = network(hooked(lambda x, y, y_pred: {"extra": ops.square(y_pred)}))
    add = {"loss": model.add_loss, "metric": model.add_metric}[kind]
    add(lambda: ops.sum(model.trainable_weights[0]), name="extra")
    still(model)
    with pytest.raises(ValueError, match=r"needs a name of its own.*Received: 'extra'"):
        fit(model)
    assert int(model.optimizer.iterations) == 0


def test_compute_loss_tells_the_hook_whether_it_trains():
    class Phased(LossAwareModel):
        def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
            return {"phase": ops.convert_to_tensor(1.0 if training else 2.0)}

    model = still(network(Phased))
    y_pred = model(X)
    assert float(model.compute_loss(X, Y, y_pred)) == 1.0
    assert float(model.compute_loss(X, Y, y_pred, None, training=False)) == 2.0


# Overridden parts of Keras


class Absolute(LossAwareModel):
    """A loss as Keras 2 writes it, without `training`."""

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
        return ops.mean(sample_weight * ops.abs(y - y_pred)[:, 0])


def test_an_overridden_loss_without_training_gets_the_weights():
    expected = close(np.mean(WEIGHTS * ABSOLUTE))
    model = still(network(Absolute))
    assert fit(model, sample_weight=WEIGHTS)["loss"] == [expected]
    assert evaluate(model, sample_weight=WEIGHTS)["loss"] == expected


def test_an_overridden_loss_is_told_whether_it_trains():
    class Phased(LossAwareModel):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return ops.mean(ops.square(y - y_pred)) * (1.0 if training else 2.0)

    history = fit(still(network(Phased)), validation_data=(X, Y))
    assert history["loss"] == [close(np.mean(SQUARES))]
    assert history["val_loss"] == [close(2 * np.mean(SQUARES))]


@pytest.mark.parametrize("call", [fit, evaluate])
def test_metrics_without_the_compiled_ones_are_refused(call):
    class Listed(LossAwareModel):
        @property
        def metrics(self):
            return [each for each in super().metrics if each.name == "loss"]

    model = still(network(Listed), loss="mse", metrics=["mae"])
    with pytest.raises(ValueError, match=r"`metrics` must hold .* without 'compile_metrics'"):
        call(model)
