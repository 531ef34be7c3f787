"""Loss weights that follow the steps or the epochs: weights and logs as by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_trainsteps import LossAwareModel, LossWeightScheduler
from keras_trainsteps.losses import PairwiseLogistic
from tests.models import linear

RATE, ROWS = 0.125, 12


class TwoTerms(LossAwareModel):
    def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
        return {"close": keras.ops.square(y_pred - y), "small": keras.ops.square(y_pred)}


def ramp(step):
    return keras.ops.minimum(1.0, keras.ops.cast(step, "float32") / 4)


@keras.saving.register_keras_serializable("tests")
def registered_ramp(step):
    return ramp(step)


SCHEDULES = {
    "function": ramp,
    "keras": keras.optimizers.schedules.PolynomialDecay(0.0, 4, 1.0),
}
DATA = np.random.default_rng(0).normal(size=(ROWS, 3)).astype("float32")
TARGET = np.ones((ROWS, 1), "float32")


def by_hand(weight_of_step, epochs, batch_size=4):
    """Weights, and the logged loss of each epoch, in float64."""
    kernel, bias, step = np.ones((3, 1)), np.zeros(1), 0
    logs = []
    for _ in range(epochs):
        losses = []
        for first in range(0, ROWS, batch_size):
            x, y = (a[first : first + batch_size].astype("float64") for a in (DATA, TARGET))
            p, weight = x @ kernel + bias, weight_of_step(step)
            losses.append(np.mean((p - y) ** 2) + weight * np.mean(p**2))
            slope = 2 * ((p - y) + weight * p) / len(x)
            kernel, bias, step = kernel - RATE * x.T @ slope, bias - RATE * slope.sum(0), step + 1
        logs.append(np.mean(losses))
    return [kernel, bias], logs


def fitted(schedule, epochs=2, callbacks=(), **options):
    model = linear(TwoTerms)
    model.compile(keras.optimizers.SGD(RATE), loss_weights={"small": schedule}, **options)
    history = model.fit(
        DATA, TARGET, batch_size=4, epochs=epochs, shuffle=False, verbose=0, callbacks=callbacks
    )
    return model, history.history


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(
    "options",
    [
        {"run_eagerly": True},
        {},
        {"steps_per_execution": 3},
        pytest.param({"jit_compile": True}, marks=pytest.mark.slow),
        pytest.param({"micro_batch_size": 2}, marks=pytest.mark.slow),
    ],
    ids=lambda options: "-".join(options) or "graph",
)
def test_a_schedule_is_followed_step_by_step(schedule, options):
    model, history = fitted(SCHEDULES[schedule], **options)
    weights, losses = by_hand(lambda step: min(1.0, step / 4), epochs=2)
    for found, expected in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(history["loss"], losses, rtol=1e-5)
    parts = np.array(history["close"]) + np.array(history["small_weighted"])
    np.testing.assert_allclose(history["loss"], parts, rtol=1e-6)


def test_evaluate_and_a_loaded_model_weigh_as_the_step_to_come(tmp_path):
    model, _ = fitted(registered_ramp, epochs=1, run_eagerly=True)
    logs = model.evaluate(DATA, TARGET, verbose=0, return_dict=True)
    assert logs["loss"] == pytest.approx(logs["close"] + 0.75 * logs["small"], rel=1e-6)
    model.save(tmp_path / "model.keras")
    keras.saving.get_custom_objects()["TwoTerms"] = TwoTerms
    try:
        loaded = keras.saving.load_model(tmp_path / "model.keras")
    finally:
        del keras.saving.get_custom_objects()["TwoTerms"]
    again = loaded.evaluate(DATA, TARGET, verbose=0, return_dict=True)
    assert again["loss"] == pytest.approx(logs["loss"], rel=1e-6)


def test_a_schedule_of_compiled_losses():
    ids = np.repeat(np.arange(3), 4)
    model = linear()
    model.compile(
        keras.optimizers.SGD(0.0),
        loss=["mse", PairwiseLogistic("query_id")],
        loss_weights=[1.0, lambda step: 2.0 * tf.cast(step, tf.float32)],
        run_eagerly=True,
    )
    x = {"features": DATA, "query_id": ids}
    grades = (np.arange(ROWS) % 4)[:, None]
    history = model.fit(x, grades, batch_size=4, shuffle=False, verbose=0).history
    assert history["loss"][0] == pytest.approx(
        history["mse_loss"][0] + history["pairwise_logistic_loss_weighted"][0], rel=1e-6
    )
    assert float(np.asarray(model.loss_weight_variables["1"])) == 4.0  # of the third step


def test_a_callback_sets_the_weight_of_each_epoch():
    weight = keras.Variable(0.0, trainable=False)
    warm_up = LossWeightScheduler("small", lambda epoch, before: before + 0.5)
    model, history = fitted(weight, callbacks=[warm_up], run_eagerly=True)
    weights, losses = by_hand(lambda step: 0.5 if step < 3 else 1.0, epochs=2)
    for found, expected in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(history["loss"], losses, rtol=1e-5)
    assert history["small_weight"] == [0.5, 1.0]


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (keras.Variable(1.0), "must hold variables that are not trained.*'small'"),
        (tf.Variable(1.0), "must hold variables that are not trained.*'small'"),
        (lambda step: float("nan"), "schedules that give a finite number.*'small'.* nan"),
        (lambda step: [1.0, 2.0], "schedules that give a finite number.*'small'"),
    ],
)
def test_weights_that_cannot_be_followed_are_refused(weight, message):
    model = linear(TwoTerms)
    with pytest.raises(ValueError, match=message):
        model.compile("sgd", loss_weights={"small": weight})
    assert not model.compiled


def test_wrong_use_of_the_callback_is_refused():
    with pytest.raises(TypeError, match="`schedule` must be a function of the epoch"):
        LossWeightScheduler("small", 0.5)
    with pytest.raises(ValueError, match=r"`term` must be one whose weight.*'small'.*are \[\]"):
        fitted(0.5, callbacks=[LossWeightScheduler("small", float)], run_eagerly=True)
    endless = LossWeightScheduler("small", lambda epoch: float("inf"))
    with pytest.raises(ValueError, match="`schedule` must return a finite number"):
        fitted(keras.Variable(0.0, trainable=False), callbacks=[endless], run_eagerly=True)
