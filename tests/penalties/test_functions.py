"""Functions of weights against plain loops, value and gradient."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from keras_trainsteps import penalties
from tests.reference import complex_step
from tests.reference import penalties as reference

NAMES = ["sum_of_norms", "group_lasso", "orthogonality", "tying"]
numbers = st.floats(-3, 3).map(lambda number: round(number, 3))
shapes = st.sampled_from([(2, 3), (3, 2), (1, 4), (2, 2, 2)])


@st.composite
def pairs_of_weights(draw):
    shape = draw(shapes)
    return [draw(arrays(np.float64, shape, elements=numbers)) for _ in range(2)]


@pytest.mark.parametrize("name", NAMES)
@given(weights=pairs_of_weights())
def test_value_and_gradient_equal_the_reference(name, weights):
    function, expected = getattr(penalties, name), getattr(reference, name)
    tensors = [tf.constant(weight) for weight in weights]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        value = function(*tensors)
    gradients = tape.gradient(value, tensors)
    np.testing.assert_allclose(value, expected(*weights), rtol=1e-12, atol=1e-12)
    for place, gradient in enumerate(gradients):

        def moved(weight, place=place):
            return expected(*[weight if k == place else w for k, w in enumerate(weights)])

        if name in ("sum_of_norms", "group_lasso"):  # no derivative at 0, where ours is 0
            rows = weights[place].reshape(-1, weights[place].shape[-1])
            if not (rows.any(axis=1).all() if name == "group_lasso" else rows.any()):
                assert np.isfinite(gradient).all()
                continue
        wanted = complex_step.gradient(moved, weights[place])
        np.testing.assert_allclose(gradient, wanted, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("name", NAMES)
def test_weights_of_zeros_have_a_finite_gradient(name):
    zeros = [tf.zeros((3, 2)), tf.zeros((3, 2))]
    with tf.GradientTape() as tape:
        tape.watch(zeros)
        value = getattr(penalties, name)(*zeros)
    assert value == (4.0 if name == "orthogonality" else 0.0)  # two identities of 2 by 2
    for gradient in tape.gradient(value, zeros):
        assert (gradient.numpy() == 0).all()
