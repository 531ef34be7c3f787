"""The sums of a rule are traced once a process, whoever asks for them."""

import gc
import weakref

import numpy as np
import pytest
import tensorflow as tf

from keras_trainsteps.pairs import HINGE, LOGISTIC, PairFactor, pair_sums, traced

Y_TRUE, Y_PRED, QUERY = [2.0, 0.0, 1.0, 1.0], [0.5, 1.0, -1.0, 0.25], [0, 0, 0, 1]


def loss(y_pred, kernel=LOGISTIC, factor=None):
    y_true, query = tf.constant(Y_TRUE, y_pred.dtype), tf.constant(QUERY)
    totals, _ = pair_sums(kernel, y_true, y_pred, query, 2, pair_factor=factor)
    return tf.reduce_sum(totals)


def slopes(y_pred, *options):
    with tf.GradientTape() as tape:
        tape.watch(y_pred)
        total = loss(y_pred, *options)
    return tape.gradient(total, y_pred)


@pytest.fixture
def traces():
    """How many functions have been traced since the test began."""
    traced.traced_sums.cache_clear()
    return lambda: traced.traced_sums.cache_info().misses


def difference(i, j):
    return tf.abs(i["y"] - j["y"])


def in_graph(y_pred, *options):
    """The slopes, in a graph of their own."""
    return tf.function(lambda y_pred: slopes(y_pred, *options))(y_pred)


@pytest.mark.slow
def test_graphs_share_one_function_a_rule(traces):
    y_pred = tf.constant(Y_PRED)
    expected = slopes(y_pred)
    assert traces() == 0
    for _ in range(2):
        np.testing.assert_allclose(in_graph(y_pred), expected, rtol=1e-6)
    assert traces() == 1
    in_graph(y_pred, HINGE)
    in_graph(tf.cast(y_pred, tf.float64))
    assert traces() == 3


@pytest.mark.slow
def test_a_factor_is_known_by_its_code_unless_it_is_a_closure(traces):
    y_pred, fields = tf.constant(Y_PRED), {"y": Y_TRUE}
    for _ in range(2):
        in_graph(y_pred, LOGISTIC, PairFactor(lambda i, j: tf.abs(i["y"] - j["y"]), fields))
    assert traces() == 1
    in_graph(y_pred, LOGISTIC, PairFactor(difference, fields))
    assert traces() == 2
    scaled = [
        in_graph(y_pred, LOGISTIC, PairFactor(lambda i, j, k=k: k * difference(i, j), fields))
        for k in (1.0, 3.0)
    ]
    np.testing.assert_allclose(scaled[1], 3 * scaled[0], rtol=1e-6)
    assert traces() == 2


@pytest.mark.slow
def test_a_function_traced_on_one_device_belongs_to_none(traces):
    @tf.function
    def on_a_device(y_pred):
        with tf.device("CPU:0"):
            return slopes(y_pred)

    on_a_device(tf.constant(Y_PRED))
    assert traces() == 1
    rule = traced.PairRule(LOGISTIC, False, False, False, None, tf.float32)
    function = traced.traced_sums(rule, None, "auto", False, ())
    assert traces() == 1
    assert {operation.device for operation in function.graph.get_operations()} == {""}


def test_no_graph_outlives_its_function():
    def graph_of_one_use():
        step = tf.function(slopes)
        step(tf.constant(Y_PRED))
        return weakref.ref(step.get_concrete_function(tf.constant(Y_PRED)).graph)

    graph = graph_of_one_use()
    gc.collect()
    assert graph() is None
