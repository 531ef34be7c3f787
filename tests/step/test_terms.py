"""`LossTerm`, and the reduction of what `compute_losses` returns."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_trainsteps import LossTerm
from keras_trainsteps.step.terms import reduce_returned
from tests.toy import X, Y, fit, hooked, network, still


def reduced(returned, rows=4, sample_weight=None):
    weight = None if sample_weight is None else tf.constant(sample_weight)
    return reduce_returned("t", returned, rows=tf.constant(rows), sample_weight=weight)


def test_value_is_total_over_count():
    assert float(LossTerm(tf.constant(6.0), tf.constant(4.0)).value) == 6 / 4


def test_count_may_be_an_integer():
    assert float(LossTerm(tf.constant(6.0), tf.constant(4)).value) == 6 / 4


def test_count_0_gives_0_with_a_gradient_of_0():
    total = tf.Variable(0.0)
    with tf.GradientTape() as tape:
        value = LossTerm(total * 3.0, tf.constant(0.0)).value
    assert float(value) == 0.0
    assert float(tape.gradient(value, total)) == 0.0


def test_nan_is_not_hidden():
    assert np.isnan(float(LossTerm(tf.constant(float("nan")), tf.constant(1.0)).value))


def test_addition_merges_sums_and_counts():
    merged = LossTerm(tf.constant(6.0), tf.constant(4.0)) + LossTerm(
        tf.constant(1.0), tf.constant(3.0)
    )
    assert (float(merged.total), float(merged.count)) == (6 + 1, 4 + 3)


def test_a_factor_scales_the_total():
    scaled = 2 * LossTerm(tf.constant(6.0), tf.constant(4.0))
    assert (float(scaled.total), float(scaled.count)) == (2 * 6, 4)


def test_wrong_arithmetic_is_refused():
    term = LossTerm(tf.constant(6.0), tf.constant(4.0))
    with pytest.raises(TypeError, match="can only be added to a `LossTerm`"):
        term + 1.0
    with pytest.raises(TypeError, match="can only be multiplied by a number"):
        term * term


@pytest.mark.parametrize("jit_compile", [False, True])
def test_passes_through_tf_function(jit_compile):
    @tf.function(jit_compile=jit_compile)
    def double(term):
        return term + term

    doubled = double(LossTerm(tf.constant(6.0), tf.constant(4.0)))
    assert isinstance(doubled, LossTerm)
    assert float(doubled.value) == 6 / 4


@pytest.mark.parametrize("shape", [(4,), (4, 1), (4, 3)])
def test_a_tensor_is_the_mean_of_its_values(shape):
    values = np.arange(np.prod(shape), dtype="float32").reshape(shape)
    term = reduced(tf.constant(values))
    assert float(term.value) == values.sum() / values.size
    assert term.by_rows


@pytest.mark.parametrize("weight_shape", [(4,), (4, 1)])
@pytest.mark.parametrize("shape", [(4,), (4, 1), (4, 4), (4, 3)])
def test_row_weights_meet_rows_whatever_the_shape(shape, weight_shape):
    values = np.arange(np.prod(shape), dtype="float32").reshape(shape)
    weight = np.array([1.0, 0.0, 2.0, 3.0], "float32")
    term = reduced(tf.constant(values), sample_weight=weight.reshape(weight_shape))
    expected = sum(weight[i] * values[i].sum() for i in range(4)) / values.size
    assert float(term.value) == expected


def test_weights_of_more_axes_than_values_are_refused():
    with pytest.raises(ValueError, match="`sample_weight` must have one weight per row"):
        reduced(tf.ones((4,)), sample_weight=np.ones((4, 3), "float32"))


def test_a_scalar_weighs_as_its_rows():
    term = reduced(tf.constant(2.5))
    assert (float(term.value), float(term.term.total), float(term.term.count)) == (
        2.5,
        10,
        4,
    )


def test_a_loss_term_keeps_its_denominator():
    term = reduced(LossTerm(tf.constant(6.0), tf.constant(4.0)))
    assert not term.by_rows
    assert float(term.value) == 6 / 4


def test_a_loss_term_of_numbers_is_taken():
    assert float(reduced(LossTerm(0.0, 0.0)).value) == 0.0


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", "int32"])
def test_values_are_reduced_in_float32(dtype):
    term = reduced(tf.cast(tf.constant([1, 2, 3, 4]), dtype))
    assert term.value.dtype == tf.float32
    assert float(term.value) == 10 / 4


def test_float16_values_do_not_overflow():
    values = tf.constant([60000.0, 60000.0, 60000.0, 60000.0], tf.float16)
    assert float(reduced(values).value) == float(np.float16(60000.0))


def test_a_total_of_several_values_is_refused():
    with pytest.raises(ValueError, match="`total` must be a float scalar"):
        reduced(LossTerm(tf.ones(3), tf.constant(3.0)))


def test_what_is_no_tensor_is_refused():
    with pytest.raises(TypeError, match="must be a `LossTerm`, a tensor"):
        reduced(object())


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
