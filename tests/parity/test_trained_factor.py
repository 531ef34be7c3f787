"""Weights of several layers, and a trained one, in the loss.

A trained factor without a lower bound lets the loss fall for ever. Bounds, or uncertainty
weighting, are the stable forms.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import Input
from keras.layers import Dense

from keras_trainsteps import LossAwareModel as Model
from keras_trainsteps.penalties import (
    TrainableCoefficient,
    UncertaintyWeighting,
    WeightPenalty,
    sum_of_norms,
)

RNG = np.random.default_rng(4)


# Weights of two layers


def with_norms():
    inp = Input(shape=[10])
    x = Dense(16)(inp)
    x = Dense(32)(x)
    x = Dense(4)(x)
    out = Dense(1)(x)

    model = Model(inputs=[inp], outputs=[out])

    def custom_loss(weight_a, weight_b):
        def _custom_loss():
            # This can include any arbitrary logic
            loss = tf.norm(weight_a) + tf.norm(weight_b)
            return loss

        return _custom_loss

    weight_a = model.layers[2].kernel
    weight_b = model.layers[3].kernel

    model.add_loss(custom_loss(weight_a, weight_b))
    return model, weight_a, weight_b


def test_norms_of_two_layers_are_added():
    model, weight_a, weight_b = with_norms()
    assert model.count_params() == 857
    norms = [np.linalg.norm(w.numpy().astype("float64")) for w in (weight_a, weight_b)]
    assert float(model.losses[0]) == pytest.approx(sum(norms), rel=1e-6)

    model.compile("sgd", loss="mse")
    rows = RNG.random((20, 10)), RNG.random((20, 1))
    logs = model.evaluate(*rows, verbose=0, return_dict=True)
    assert logs["regularization"] == pytest.approx(sum(norms), rel=1e-6)
    mse = np.mean((model.predict(rows[0], verbose=0) - rows[1]) ** 2)
    assert logs["loss"] == pytest.approx(mse + sum(norms), rel=1e-6)
    history = model.fit(*rows, epochs=5, verbose=0).history
    assert history["regularization"][-1] < sum(norms)


# A trained factor


class Pseudo_Model(Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense1 = Dense(16)
        self.dense2 = Dense(4)
        self.dense3 = Dense(2)
        self.a = tf.Variable(shape=(1,), initial_value=tf.ones(shape=(1,)))

    def call(self, inputs, training=True, mask=None):
        x = self.dense1(inputs)
        x = self.dense2(x)
        x = self.dense3(x)

        return x


def custom_loss(weight_a, weight_b, a):
    def _custom_loss():
        # This can include any arbitrary logic
        loss = a * tf.norm(weight_a) + tf.norm(weight_b)
        return loss

    return _custom_loss


def with_factor():
    sub_model = Pseudo_Model(name="sub_model")
    inputs = Input(shape=(32,))
    outputs = sub_model(inputs)
    return Model(inputs, outputs)


FAKE_DATA = RNG.random((1000, 32))
FAKE_LABELS = RNG.random((1000, 2))


def by_hand(weights, epochs, batch_size=32, learning_rate=0.01):
    """The same training in float64: losses of the epochs, and the factor after them."""
    w1, b1, w2, b2, w3, b3, a = (w.astype("float64") for w in weights)
    losses = []
    for _ in range(epochs):
        total = 0.0
        for begin in range(0, len(FAKE_DATA), batch_size):
            x = FAKE_DATA[begin : begin + batch_size].astype("float32").astype("float64")
            y = FAKE_LABELS[begin : begin + batch_size].astype("float32").astype("float64")
            h1 = x @ w1 + b1
            h2 = h1 @ w2 + b2
            error = h2 @ w3 + b3 - y
            norms = np.linalg.norm(w1), np.linalg.norm(w2)
            total += len(x) * (np.mean(error**2) + a[0] * norms[0] + norms[1])
            d3 = 2 * error / error.size
            d2 = d3 @ w3.T
            d1 = d2 @ w2.T
            steps = (
                x.T @ d1 + a[0] * w1 / norms[0],
                d1.sum(0),
                h1.T @ d2 + w2 / norms[1],
                d2.sum(0),
                h2.T @ d3,
                d3.sum(0),
                np.array([norms[0]]),
            )
            new = (w1, b1, w2, b2, w3, b3, a)
            w1, b1, w2, b2, w3, b3, a = (
                w - learning_rate * step for w, step in zip(new, steps, strict=True)
            )
        losses.append(total / len(FAKE_DATA))
    return losses, a


def test_a_factor_without_a_bound_falls_for_ever():
    keras.utils.set_random_seed(4)
    model = with_factor()
    sub_model = model.get_layer("sub_model")
    assert model.count_params() == 607
    assert [layer.count_params() for layer in sub_model.layers[:3]] == [528, 68, 10]
    assert sub_model.count_params() == 528 + 68 + 10 + 1

    a_ = sub_model.a
    weighta = sub_model.layers[0].kernel
    weightb = sub_model.layers[1].kernel
    sub_model.add_loss(custom_loss(weighta, weightb, a_))
    norms = [np.linalg.norm(w.numpy()) for w in (weighta, weightb)]
    np.testing.assert_allclose(model.losses[0], sum(norms), rtol=1e-6)

    weights = [*(w for w in model.get_weights() if w.size > 1), a_.numpy()]
    model.compile(optimizer=keras.optimizers.SGD(), loss="mse")
    losses = model.fit(FAKE_DATA, FAKE_LABELS, epochs=5, shuffle=False, verbose=0).history["loss"]
    expected, a = by_hand(weights, epochs=5)
    # Once `a` is negative the kernel grows at an ever faster rate, and roundings with it.
    np.testing.assert_allclose(losses, expected, rtol=1e-4)
    np.testing.assert_allclose(sub_model.a.numpy(), a, rtol=1e-4)
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < -40
    assert a[0] < -7


# The stable forms


def stable():
    """That network without the factor, and the kernels that its penalty reads."""
    keras.utils.set_random_seed(4)
    inputs = Input(shape=(32,))
    x = Dense(16, name="dense1")(inputs)
    x = Dense(4, name="dense2")(x)
    return Model(inputs, Dense(2, name="dense3")(x))


@pytest.mark.slow
def test_a_bounded_factor_settles():
    model = stable()
    coefficient = TrainableCoefficient(1.0, bounds=(0.01, 10.0))
    penalty = WeightPenalty(sum_of_norms, weights=["dense1/kernel"], coefficient=coefficient)
    model.add_loss(penalty, name="norm")
    model.add_loss(WeightPenalty(sum_of_norms, weights=["dense2/kernel"]), name="other_norm")
    assert model.count_params() == 607
    model.compile(keras.optimizers.SGD(), loss="mse")
    history = model.fit(FAKE_DATA, FAKE_LABELS, epochs=60, batch_size=100, verbose=0).history
    assert history["norm_coefficient"][-1] == np.float32(0.01)
    assert min(history["loss"]) > 0
    assert abs(history["loss"][-1] - history["loss"][-10]) < 0.01
    variance = np.mean((FAKE_LABELS - FAKE_LABELS.mean(0)) ** 2)
    assert history["mse_loss"][-1] < 2 * variance


@pytest.mark.slow
def test_uncertainty_weighting_settles():
    model = stable()
    penalty = WeightPenalty(sum_of_norms, weights=["dense1/kernel", "dense2/kernel"])
    model.add_loss(penalty, name="norms")
    model.add_loss(UncertaintyWeighting(["mse_loss", "norms"], bounds=(-3, 3)), name="weighting")
    model.compile(keras.optimizers.SGD(0.05), loss="mse")
    history = model.fit(FAKE_DATA, FAKE_LABELS, epochs=60, batch_size=100, verbose=0).history
    assert abs(history["loss"][-1] - history["loss"][-10]) < 0.05
    # The loss is at rest in s where exp(-s) * L = 1.
    for name in ("mse_loss", "norms"):
        weight, value = history[f"{name}_weight"][-1], history[name][-1]
        assert np.exp(-3) < weight < np.exp(3)
        assert weight * value == pytest.approx(1, rel=0.02)
