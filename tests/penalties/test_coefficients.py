"""Trainable coefficients: the diverging one of the seed, and those that settle."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_trainsteps import LossAwareModel, penalties
from keras_trainsteps.penalties import TrainableCoefficient, UncertaintyWeighting, WeightPenalty

X = np.random.default_rng(0).normal(size=(64, 3)).astype("float32")
Y = X @ np.array([[1.0], [2.0], [-1.0]], "float32")


def penalized(coefficient):
    inputs = keras.Input((3,))
    hidden = keras.layers.Dense(4, name="first")(inputs)
    model = LossAwareModel(inputs, keras.layers.Dense(1, name="last")(hidden))
    penalty = WeightPenalty(
        penalties.sum_of_norms, weights=["first/kernel", "last/kernel"], coefficient=coefficient
    )
    model.add_loss(penalty, name="norms")
    model.compile(keras.optimizers.SGD(0.05), loss="mse")
    return model


def coefficient_of(model):
    return float(next(w for w in model.trainable_weights if w.name == "norms_coefficient"))


def test_an_unbounded_coefficient_diverges():
    model = penalized(TrainableCoefficient(1.0))
    losses = model.fit(X, Y, epochs=10, verbose=0).history["loss"]
    # Each step takes 0.05 * (sum of norms) off the coefficient, without end.
    assert losses[-1] < losses[5] < 0
    assert losses[-1] - losses[-2] < losses[5] - losses[4]
    assert coefficient_of(model) < -1


@pytest.mark.slow
def test_a_bounded_coefficient_settles_at_its_bound():
    model = penalized(TrainableCoefficient(1.0, bounds=(0.01, 2.0)))
    history = model.fit(X, Y, epochs=60, verbose=0).history
    assert coefficient_of(model) == np.float32(0.01)
    assert history["norms_coefficient"][-1] == pytest.approx(0.01)
    assert 0 < history["loss"][-1] < history["loss"][0]
    assert abs(history["loss"][-1] - history["loss"][-5]) < 1e-2
    assert (
        "val_norms_coefficient" not in model.fit(X, Y, validation_data=(X, Y), verbose=0).history
    )


@pytest.mark.slow
def test_uncertainty_weighting_settles_at_the_inverse_of_each_term():
    rng = np.random.default_rng(1)
    targets = {"a": rng.normal(size=(512, 1)), "b": 10 * rng.normal(size=(512, 1))}
    inputs = keras.Input((3,))
    outputs = {
        name: keras.layers.Dense(1, kernel_initializer="zeros", name=name)(inputs)
        for name in targets
    }
    model = LossAwareModel(inputs, outputs)
    model.add_loss(UncertaintyWeighting(["a_loss", "b_loss"]), name="uncertainty")
    model.compile(keras.optimizers.SGD(0.05), loss="mse")
    x = rng.normal(size=(512, 3))
    history = model.fit(x, targets, batch_size=512, epochs=300, verbose=0).history
    for name in targets:
        term, weight = history[f"{name}_loss"][-1], history[f"{name}_loss_weight"][-1]
        assert term * weight == pytest.approx(1.0, rel=1e-3)
    additive = sum(
        np.array(history[f"{name}_loss"]) * np.array(history[f"{name}_loss_weight"])
        for name in targets
    )
    # The logged weight is the one after the step; at rest the two are the same.
    expected = additive + np.array(history["uncertainty"])
    assert history["loss"][-1] == pytest.approx(expected[-1], rel=1e-4)


def test_trained_weights_are_those_of_a_hand_written_tape():
    inputs = keras.Input((3,))
    outputs = {name: keras.layers.Dense(1, name=name)(inputs) for name in ("a", "b")}
    model = LossAwareModel(inputs, outputs)
    weighting = UncertaintyWeighting(["a_loss", "b_loss"], initial=0.5)
    model.add_loss(weighting, name="uncertainty")
    model.compile(keras.optimizers.SGD(0.1), loss="mse", loss_weights={"b_loss": 2.0})
    weights = {weight.path: weight.numpy() for weight in model.trainable_weights}
    y = {"a": Y, "b": 3 * Y}
    with tf.GradientTape() as tape:
        tensors = {path: tf.Variable(value) for path, value in weights.items()}
        loss = 0.0
        for name, factor in (("a", 1.0), ("b", 2.0)):
            y_pred = X @ tensors[f"{name}/kernel"] + tensors[f"{name}/bias"]
            s = next(
                t for path, t in tensors.items() if path.endswith(f"uncertainty_{name}_loss")
            )
            term = tf.reduce_mean(tf.square(y[name] - y_pred))
            loss += factor * tf.exp(-s) * term + s
    gradients = tape.gradient(loss, tensors)
    history = model.fit(X, y, batch_size=64, verbose=0).history
    assert history["loss"][0] == pytest.approx(float(loss), rel=1e-6)
    for weight in model.trainable_weights:
        wanted = weights[weight.path] - 0.1 * gradients[weight.path]
        np.testing.assert_allclose(weight.numpy(), wanted, rtol=1e-5, atol=1e-6)


def test_a_weighting_of_unknown_terms_is_refused():
    inputs = keras.Input((3,))
    model = LossAwareModel(inputs, keras.layers.Dense(1)(inputs))
    model.add_loss(UncertaintyWeighting(["mse"]), name="uncertainty")
    model.compile("sgd", loss="mse")
    with pytest.raises(ValueError, match=r"must be terms of the loss.*\['mse'\].*'mse_loss'"):
        model.fit(X, Y, verbose=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((math.nan, None), "`initial` must be a finite number. Received: nan"),
        ((1.0, (0.0, math.inf)), "`bounds` must be two finite numbers"),
        ((1.0, (2.0, 1.0)), "`bounds` must be two finite numbers, the lower one first"),
        ((3.0, (0.0, 2.0)), "`initial` must lie within `bounds`. Received: 3.0"),
    ],
)
def test_bad_numbers(arguments, message):
    initial, bounds = arguments
    with pytest.raises(ValueError, match=message):
        TrainableCoefficient(initial, bounds=bounds)


@pytest.mark.parametrize("terms", [[], ["a", "a"]])
def test_bad_terms(terms):
    with pytest.raises(ValueError, match="`terms` must name each term to weigh once"):
        UncertaintyWeighting(terms)
