"""The pairwise loss against a closure over query ids: values and gradients."""

import numpy as np
import pytest
import tensorflow as tf

from keras_trainsteps.losses import pairwise_logistic
from tests.parity.closure import pairwise_binary_crossentropy


@pytest.mark.parametrize("rows", [1, 2, 7, 100])
def test_value_and_gradient_are_those_of_the_closure(rows):
    rng = np.random.default_rng(rows)
    query = tf.constant(rng.integers(0, 5, size=(rows, 1)))
    y_true = tf.constant(rng.integers(0, 3, size=(rows, 1)).astype("float32"))
    y_pred = tf.constant(rng.normal(size=(rows, 1)).astype("float32") * 3)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(y_pred)
        closure = pairwise_binary_crossentropy(query)(y_true, y_pred)
        term = pairwise_logistic(y_true, y_pred, query_ids=query, pairs="all", epsilon=1e-5)
        own = term.value
    # The closure adds up rows**2 float32 numbers: its own rounding is what differs.
    ulp = np.finfo("float32").eps
    assert abs(float(closure - own)) <= 8 * ulp * max(float(closure), ulp)
    closure_gradient, own_gradient = (tape.gradient(v, y_pred).numpy() for v in (closure, own))
    np.testing.assert_allclose(own_gradient, closure_gradient, atol=2 * rows * ulp)
