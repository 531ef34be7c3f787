"""Position bias: formulas, propensities from simulated logs, and a tower that is not served."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_trainsteps import LossAwareModel, losses
from keras_trainsteps.losses import (
    PositionBias,
    estimate_propensities,
    inverse_propensity_weights,
)
from keras_trainsteps.rolling import load_for_inference, save_for_inference


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-30, 30, width=32), st.integers(1, 4)), min_size=1, max_size=8),
    st.lists(st.floats(-8, 8, width=32), min_size=4, max_size=4),
)
def test_logits_of_clicks_are_those_of_the_formulas(rows, bias):
    scores, positions = np.array([r[0] for r in rows], "float32"), [r[1] for r in rows]
    b = np.array(bias)[np.array(positions) - 1]
    additive, multiplicative = PositionBias(4), PositionBias(4, form="multiplicative")
    for layer in (additive, multiplicative):
        layer.bias.assign(bias)
    np.testing.assert_allclose(
        additive(scores, np.array(positions)), scores + b, rtol=1e-5, atol=1e-5
    )
    click = sigmoid(scores.astype(float)) * sigmoid(b)
    logits = multiplicative(scores, np.array(positions)).numpy()
    assert np.isfinite(logits).all()
    np.testing.assert_allclose(sigmoid(logits.astype(float)), click, rtol=1e-4, atol=1e-7)


def simulated(rows, theta, seed=0):
    """Clicks of the position-based model on items that moved between positions."""
    rng = np.random.default_rng(seed)
    gamma = rng.uniform(0.1, 0.9, 50)
    items, positions = rng.integers(0, 50, rows), rng.integers(1, len(theta) + 1, rows)
    clicks = rng.random(rows) < np.array(theta)[positions - 1] * gamma[items]
    return clicks.astype(int), positions, items


def test_propensities_are_found_again():
    theta = [0.9, 0.6, 0.4, 0.2]
    found = estimate_propensities(*simulated(40_000, theta))
    np.testing.assert_allclose(found, np.array(theta) / theta[0], atol=0.03)


class FromClicks(LossAwareModel):
    side_inputs = ("position",)

    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs)
        self.tower = PositionBias(4, form="multiplicative")

    def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
        return {"clicks": losses.sigmoid_crossentropy(y, self.tower(y_pred, x["position"]))}


def model():
    inputs = keras.Input((50,), name="features")
    scores = keras.layers.Reshape(())(keras.layers.Dense(1)(inputs))
    made = FromClicks(inputs, scores)
    made.compile(keras.optimizers.Adam(0.05))
    return made


def test_the_tower_takes_the_bias_and_is_not_served(tmp_path):
    theta = [0.9, 0.6, 0.3, 0.15]
    clicks, positions, items = simulated(20_000, theta, seed=1)
    trained = model()
    x = {"features": np.eye(50, dtype="float32")[items], "position": positions}
    trained.fit(x, clicks, batch_size=1000, epochs=15, verbose=0)
    found = trained.tower.propensities().numpy()
    np.testing.assert_allclose(found, np.array(theta) / theta[0], atol=0.08)
    scores = trained.predict({"features": np.eye(50)}, verbose=0)
    assert scores.shape == (50,)  # without positions
    save_for_inference(trained, tmp_path / "served")
    served = load_for_inference(tmp_path / "served")
    assert not any("bias" in weight.path and "tower" in weight.path for weight in served.weights)
    np.testing.assert_allclose(served.predict(np.eye(50), verbose=0), scores, rtol=1e-6)


def placed(positions):
    return PositionBias(3)(tf.zeros(1), tf.constant(positions))


def test_inverse_propensity_weights():
    weights = inverse_propensity_weights([1, 3, 2], [1.0, 0.5, 0.1], most=4)
    assert weights.tolist() == [1.0, 4.0, 2.0]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: inverse_propensity_weights([1], [0.0]), ValueError, "above 0 and at most 1"),
        (lambda: inverse_propensity_weights([1], [1.5]), ValueError, "above 0 and at most 1"),
        (lambda: inverse_propensity_weights([3], [1.0, 0.5]), ValueError, "from 1 to 2.*3 to 3"),
        (lambda: inverse_propensity_weights([0], [1.0]), ValueError, "from 1 to 1"),
        (lambda: inverse_propensity_weights([1.0], [1.0]), TypeError, "must be integers from 1"),
        (lambda: estimate_propensities([2], [1], [1]), ValueError, "`clicks` must be 0 or 1"),
        (lambda: estimate_propensities([1, 0], [1, 2], [1, 1]), ValueError, r"none of \[2\]"),
        (lambda: estimate_propensities([1, 1], [1, 2], [1, 2]), ValueError, "several positions"),
        (lambda: PositionBias(3, form="other"), ValueError, "`form` must be one of"),
        (lambda: PositionBias(0), ValueError, "`positions` must be an integer"),
        (
            lambda: PositionBias(3)(tf.zeros(1), tf.constant([4])),
            ValueError,
            "from 1 to 3.*position of 4",
        ),
        (
            lambda: PositionBias(3)(tf.zeros(1), tf.constant([0])),
            ValueError,
            "from 1 to 3.*position of 0",
        ),
        (
            lambda: PositionBias(3)(tf.zeros(1), tf.ones(1)),
            TypeError,
            "`positions` must be integers",
        ),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.slow
def test_positions_that_are_not_there_show_under_xla():
    compiled = tf.function(PositionBias(3).call, jit_compile=True)
    found = compiled(tf.zeros(2), tf.constant([1, 4])).numpy()
    assert found[0] == 0
    assert np.isnan(found[1])
