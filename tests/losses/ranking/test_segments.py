import numpy as np
import pytest
import tensorflow as tf

from keras_trainsteps.losses.ranking.segments import (
    last_row_of_run,
    log_add_exp,
    log_cumsum_exp,
    take,
)
from tests.reference.complex_step import gradient


def test_sum_of_a_running_log_sum_has_both_signs_in_its_gradient():
    values = np.array([0.5, -1.0, 2.0, 0.0, 0.25])
    segment = np.array([0, 0, 0, 1, 1])
    factor = np.array([1.0, -2.0, 0.0, 3.0, -0.5])

    def plain(x):
        sums = [
            np.log(sum(np.exp(x[j]) for j in range(i + 1) if segment[j] == segment[i]))
            for i in range(5)
        ]
        return sum(f * value for f, value in zip(factor, sums, strict=True))

    x = tf.constant(values)
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(factor * log_cumsum_exp(x, tf.constant(segment)))
    np.testing.assert_allclose(total, plain(values), rtol=1e-14)
    np.testing.assert_allclose(
        tape.gradient(total, x), gradient(plain, values), rtol=1e-13, atol=1e-15
    )


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("jit_compile", [None, True])
def test_running_log_sums_of_infinities(reverse, jit_compile):
    inf = np.inf
    values = np.array([-inf, 1.0, -inf, -inf, -inf, 2.0, inf, 0.0])
    segment = np.array([0, 0, 0, 1, 1, 2, 3, 3])
    order = slice(None, None, -1 if reverse else 1)
    expected = np.empty(8)
    for name in range(4):
        rows = np.flatnonzero(segment == name)[order]
        expected[rows] = np.logaddexp.accumulate(values[rows])
    run = tf.function(log_cumsum_exp, jit_compile=jit_compile)
    sums = run(tf.constant(values), tf.constant(segment), reverse=reverse)
    np.testing.assert_allclose(sums, expected, rtol=1e-15)


def test_an_empty_sum_passes_no_gradient_and_no_nan():
    values = tf.constant([-np.inf, 0.5])
    with tf.GradientTape() as tape:
        tape.watch(values)
        last = log_cumsum_exp(values, tf.constant([0, 0]))[1]
    assert tape.gradient(last, values).numpy().tolist() == [0.0, 1.0]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(
    ("sizes", "spread"), [([5] * 8, 3.0), ([400, *[1] * 60], 3.0), ([5] * 8, 900.0)]
)
def test_even_uneven_and_far_lists_are_those_of_plain_loops(sizes, spread, reverse):
    rng = np.random.default_rng(0)
    segment = np.repeat(np.arange(len(sizes)), sizes)
    x, factor = spread * rng.uniform(-1, 1, len(segment)), rng.normal(size=len(segment))
    order = slice(None, None, -1 if reverse else 1)
    sums, slopes = np.empty(len(x)), np.empty(len(x))
    for name in range(len(sizes)):
        rows = np.flatnonzero(segment == name)[order]
        sums[rows] = np.logaddexp.accumulate(x[rows])
        held = np.tril(np.ones((len(rows), len(rows)), bool))
        shares = np.exp(np.where(held, x[rows] - sums[rows][:, None], -np.inf))
        slopes[rows] = factor[rows] @ shares

    @tf.function(autograph=False)
    def run(values, segment):
        with tf.GradientTape() as tape:
            tape.watch(values)
            found = log_cumsum_exp(values, segment, reverse=reverse, segments=tf.size(sizes))
            total = tf.reduce_sum(factor * found)
        return found, tape.gradient(total, values)

    found = run(tf.constant(x), tf.constant(segment, tf.int32))
    np.testing.assert_allclose(found[0], sums, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(found[1], slopes, rtol=1e-11, atol=1e-13)


def test_log_add_exp_is_numpys():
    values = np.array([-np.inf, -1000.0, 0.0, 1000.0, np.inf, np.nan])
    a, b = np.meshgrid(values, values)
    sums = log_add_exp(tf.constant(a), tf.constant(b))
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(sums, np.logaddexp(a, b), rtol=1e-15)


def test_last_row_of_run():
    last = last_row_of_run(tf.constant([3, 3, 1, 1, 1]), tf.constant([0, 0, 0, 0, 1]))
    assert last.numpy().tolist() == [1, 1, 3, 3, 4]
    assert last_row_of_run(tf.zeros((0,), tf.int32)).shape == (0,)


def test_take_adds_the_gradients_of_repeated_rows():
    values = tf.constant([1.0, 2.0, 3.0])
    with tf.GradientTape() as tape:
        tape.watch(values)
        taken = take(values, tf.constant([2, 0, 2]))
        total = tf.reduce_sum(taken * [1.0, 10.0, 100.0])
    assert taken.numpy().tolist() == [3.0, 1.0, 3.0]
    assert tape.gradient(total, values).numpy().tolist() == [10.0, 0.0, 101.0]
