"""What `compute_losses` may return under a name, and in which dtype it is reduced."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_trainsteps import LossTerm
from tests.toy import X, Y, fit, hooked, network, still

NO_TERMS = {
    "an integer total": (lambda: LossTerm(tf.constant(3), tf.constant(1)), "dtype int32"),
    "a vector of counts": (
        lambda: LossTerm(tf.constant(3.0), tf.ones(2)),
        r"shapes \(\) and \(2,\)",
    ),
}


@pytest.mark.parametrize(("term", "received"), NO_TERMS.values(), ids=NO_TERMS)
def test_a_term_that_is_no_sum_with_its_count_is_refused(term, received):
    model = still(network(hooked(lambda x, y, y_pred: {"t": term()})))
    match = rf"'t': `total` must be a float scalar and `count` a scalar. Received: .*{received}"
    with pytest.raises(ValueError, match=match):
        fit(model, X, Y)
    assert int(model.optimizer.iterations) == 0


def test_losses_are_float32_also_where_floatx_is_float16():
    value = np.float64(np.finfo("float16").max) * 2
    keras.config.set_floatx("float16")
    try:
        hook = hooked(lambda x, y, y_pred: {"large": tf.fill(tf.shape(y_pred), value)})
        model = network(hook, dtype="float32")
        model.compile(None)
        logs = model.evaluate(X, Y, verbose=0, return_dict=True)
    finally:
        keras.config.set_floatx("float32")
    assert logs["large"] == value
