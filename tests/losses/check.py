"""What the tests of losses share: value and gradient of a term, and how near is near."""

import numpy as np
import tensorflow as tf

FLOAT64 = {"rtol": 1e-12, "atol": 1e-12}


def term_and_gradient(loss, y_pred):
    """Total, count and gradient of the total, of `loss(y_pred)`, as NumPy."""
    y_pred = tf.convert_to_tensor(y_pred)
    with tf.GradientTape() as tape:
        tape.watch(y_pred)
        term = loss(y_pred)
    gradient = tape.gradient(term.total, y_pred, unconnected_gradients="zero")
    return term.total.numpy(), term.count.numpy(), tf.convert_to_tensor(gradient).numpy()


def assert_same(result, expected, **tolerance):
    """Asserts that totals, counts and gradients are equal."""
    tolerance = tolerance or FLOAT64
    for name, a, b in zip(("total", "count", "gradient"), result, expected, strict=True):
        np.testing.assert_allclose(a, b, err_msg=name, **tolerance)
