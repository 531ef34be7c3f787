"""The gradient penalty against slopes by hand, its own slopes, and a step."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_trainsteps import losses
from tests.toy import close

RNG = np.random.default_rng(0)
REAL, FAKE = RNG.normal(size=(2, 6, 3)).astype("float32")
KERNEL, LAST = RNG.normal(size=(3, 4)), RNG.normal(size=4)


def network(kernel=KERNEL):
    """`sum(tanh(x @ kernel) * last)` of each row."""
    inputs = keras.Input((3,))
    hidden = keras.layers.Dense(4, "tanh", use_bias=False)(inputs)
    model = keras.Model(inputs, keras.layers.Dense(1, use_bias=False)(hidden))
    model.set_weights([kernel, LAST[:, None]])
    return model


def slopes(rows, kernel=KERNEL):
    """The gradient of each row, by plain loops in float64."""
    found = np.zeros((len(rows), 3))
    for i, row in enumerate(np.asarray(rows, "float64")):
        for k in range(4):
            steep = 1 - np.tanh(sum(row[j] * kernel[j, k] for j in range(3))) ** 2
            for j in range(3):
                found[i, j] += LAST[k] * steep * kernel[j, k]
    return found


def penalty(rows, kernel=KERNEL):
    return [(np.sqrt(sum(slope**2)) - 1) ** 2 for slope in slopes(rows, kernel)]


def r1(rows, kernel=KERNEL):
    return [sum(slope**2) for slope in slopes(rows, kernel)]


def drawn(seed):
    share = keras.random.uniform((6, 1), seed=seed).numpy().astype("float64")
    return REAL + share * (FAKE - REAL)


def test_the_slope_between_real_and_fake_is_to_be_1():
    term = losses.gradient_penalty(network(), REAL, FAKE, seed=3)
    assert float(term.total) == close(sum(penalty(drawn(3))))
    assert float(term.count) == 6.0


def test_the_slope_at_real_rows_is_to_be_0():
    term = losses.gradient_penalty(network(), REAL)
    assert float(term.total) == close(sum(r1(REAL)))
    assert float(term.value) == close(sum(r1(REAL)) / 6)


@pytest.mark.parametrize("fake", [None, FAKE], ids=["r1", "between"])
def test_its_gradient_is_that_of_central_differences(fake):
    model = network()
    with tf.GradientTape() as tape:
        value = losses.gradient_penalty(model, REAL, fake, seed=3).value
    found = tape.gradient(value, model.trainable_weights[0]).numpy()
    rows, of_rows = (REAL, r1) if fake is None else (drawn(3), penalty)
    for place in np.ndindex(3, 4):
        step = np.zeros((3, 4))
        step[place] = 1e-5
        above, below = (np.mean(of_rows(rows, KERNEL + sign * step)) for sign in (1, -1))
        assert found[place] == close((above - below) / 2e-5, rel=1e-4)


def test_rows_of_more_axes_and_outputs_of_more_values_are_summed():
    rows = RNG.normal(size=(4, 2, 2)).astype("float32")
    term = losses.gradient_penalty(lambda x: tf.stack([x, 2 * x]), rows)
    assert float(term.value) == close(4 * 9)


def test_a_slope_of_0_has_a_finite_gradient():
    flat = tf.Variable(0.0)
    with tf.GradientTape() as tape:
        value = losses.gradient_penalty(lambda x: flat * x, REAL, FAKE).value
    assert float(value) == 1.0
    assert float(tape.gradient(value, flat)) == 0.0


def test_a_seed_draws_as_keras():
    seeds = [keras.random.SeedGenerator(1) for _ in range(2)]
    found = [
        float(losses.gradient_penalty(network(), REAL, FAKE, seed=seeds[0]).value) for _ in "ab"
    ]
    assert found == close([np.mean(penalty(drawn(seeds[1]))) for _ in "ab"])
    assert found[0] != found[1]


def test_what_has_no_slope_is_refused():
    with pytest.raises(ValueError, match="`network` must give what depends on its input"):
        losses.gradient_penalty(tf.stop_gradient, REAL)
    with pytest.raises(ValueError, match="`fake` must have the shape of `real`"):
        losses.gradient_penalty(network(), REAL, FAKE[:, :2])
    with pytest.raises(TypeError, match="`network` must be a layer"):
        losses.gradient_penalty(3, REAL)
    with pytest.raises(ValueError, match="`seed` must be"):
        losses.gradient_penalty(network(), REAL, FAKE, seed="a")
