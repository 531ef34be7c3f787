"""Counts of pairs against plain loops and SciPy, without a pair of rows in memory."""

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from keras_trainsteps.metrics import PairAccuracy, pair_accuracy
from keras_trainsteps.metrics.pair_counts import pair_counts

ROWS = st.lists(
    st.tuples(st.integers(-1, 3), st.integers(-4, 4), st.integers(-4, 4)), max_size=25
)


def plain(query, a, b):
    counts = np.zeros((5, 4), int)
    for i in range(len(query)):
        for j in range(i):
            if query[i] == query[j] >= 0:
                by_a, by_b = np.sign(a[i] - a[j]), np.sign(b[i] - b[j])
                counts[:, query[i]] += [
                    1,
                    by_a == 0,
                    by_b == 0,
                    by_a == by_b == 0,
                    by_a * by_b < 0,
                ]
    return counts


@given(rows=ROWS, unit=st.sampled_from([1.0, 1 / 3]))
def test_counts_are_those_of_plain_loops(rows, unit):
    query, a, b = np.array(rows, int).reshape(-1, 3).T
    found = pair_counts(tf.constant(query, tf.int32), tf.constant(a, tf.float32), b * unit, 4)
    np.testing.assert_array_equal(found, plain(query, a, b))


@pytest.mark.parametrize("jit_compile", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_graph_counts_alike(jit_compile):
    rng = np.random.default_rng(0)
    query, a, b = rng.integers(-1, 4, 200), rng.integers(0, 50, 200), rng.integers(0, 50, 200)
    columns = query.astype("int32"), a / 7, b.astype("float32")
    run = tf.function(lambda *columns: pair_counts(*columns, 4), jit_compile=jit_compile)
    np.testing.assert_array_equal(run(*map(tf.constant, columns)), plain(query, a, b))


def test_a_long_query_is_exact_and_takes_memory_of_its_rows():
    rows = 20_000  # whose pairs would take 400 MB as bools alone
    rng = np.random.default_rng(0)
    y, s = rng.permutation(rows).astype("float32"), rng.permutation(rows).astype("float32")
    metric = PairAccuracy("q")
    metric.update_state(y, s, query_ids=np.zeros(rows, int))
    tau = scipy.stats.kendalltau(y, s).statistic  # of ranks without ties
    assert float(metric.result()) == pytest.approx((1 + tau) / 2, rel=1e-14)
    sizes = []
    function = tf.function(pair_counts, autograph=False).get_concrete_function(
        *(tf.TensorSpec((rows,), dtype) for dtype in (tf.int32, tf.float32, tf.float32)), 1
    )
    definition = function.graph.as_graph_def(add_shapes=True)
    nodes = [*definition.node, *(n for f in definition.library.function for n in f.node_def)]
    for node in nodes:
        for shape in node.attr["_output_shapes"].list.shape:
            sizes.append(np.prod([max(d.size, 1) for d in shape.dim], dtype=float))
    assert max(sizes) <= rows + 1


def test_short_and_long_queries_are_counted_alike(monkeypatch):
    rng = np.random.default_rng(0)
    y, s, ids = rng.integers(0, 4, 60), rng.integers(0, 9, 60), rng.integers(0, 5, 60)
    found = []
    for few in (0, 2**17):
        monkeypatch.setattr(pair_accuracy, "_FEW_PAIRS", few)
        metric = PairAccuracy("q")
        metric.update_state(y, s, query_ids=ids)
        found.append(float(metric.result()))
    assert found[0] == found[1]
