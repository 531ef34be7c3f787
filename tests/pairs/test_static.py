"""Static shapes for XLA: the same accuracy, linear work, and nothing left to be interpreted.

Run eagerly, too, where nothing has to be compiled.
"""

import numpy as np
import pytest
import tensorflow as tf

from keras_trainsteps import losses
from keras_trainsteps.pairs import (
    HINGE,
    LOGISTIC,
    SOFT_ZERO_ONE,
    SQUARED_ERROR,
    static,
    static_tiles,
)
from keras_trainsteps.pairs.rules import PairRows, PairRule
from tests.pairs.test_linear import LABELS, LIMIT, RULES, SCORES, assert_accurate, batch, check
from tests.pairs.test_sums import assert_equal_sums
from tests.reference import pairs as reference


def static_rule(kernel, pairs="preference", dtype=tf.float32, **options):
    rule = PairRule(kernel, pairs == "all", False, False, None, dtype)
    return rule._replace(**options)


def eagerly(rule, method, arrays, list_size=None):
    """The static sums, operation by operation."""
    y_true, y_pred, query, number, weight = arrays
    floats = [tf.constant(np.asarray(x), tf.float64) for x in (y_true, y_pred, weight)]
    rows = PairRows(*floats, {})
    query = tf.constant(query, tf.int32)
    sums = static.static_sums(rule, method, rows, query, tf.constant(number), list_size)
    return [x.numpy() for x in sums]


def expected_of(kernel, pairs, arrays):
    y_true, y_pred, query, number, weight = arrays
    return reference.pair_sums_by_blocks(
        kernel.name, y_true, y_pred, query, number, pairs=pairs, row_weight=weight
    )


by_rule = pytest.mark.parametrize(
    ("kernel", "pairs"), RULES, ids=[f"{k.name.lower()}-{p}" for k, p in RULES]
)


@by_rule
@pytest.mark.parametrize(
    "labels",
    [pytest.param(name, marks=() if name == "real" else pytest.mark.slow) for name in LABELS],
)
def test_float32_holds_1e_6(kernel, pairs, labels):
    ties = kernel is LOGISTIC and pairs == "all"
    rule = static_rule(kernel, pairs, weighted=True)
    for scores in SCORES:
        arrays = batch(labels, scores, 300, tf.float32)
        got = eagerly(rule, "linear", arrays)
        assert_accurate(got, expected_of(kernel, pairs, arrays), LIMIT[tf.float32], ties)


@by_rule
@pytest.mark.parametrize(
    ("labels", "method"),
    [
        (labels, method)
        for labels in LABELS
        for method in ("linear", "exact")
        if (labels, method) != ("one-relevant", "exact")
    ],
)
@pytest.mark.slow
def test_compiled_holds_1e_6(kernel, pairs, labels, method):
    for scores in SCORES:
        arrays = batch(labels, scores, 500, tf.float32)
        check(kernel, pairs, tf.float32, method, arrays, mode="xla")


@pytest.mark.parametrize(
    ("kernel", "pairs"), [r for r in RULES if r[0] in (LOGISTIC, SQUARED_ERROR, SOFT_ZERO_ONE)]
)
@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.slow
def test_compiled_float64_holds_1e_12(kernel, pairs, labels):
    for scores in ("normal", "spread-to-50", "integers", "learned", "well-separated"):
        arrays = batch(labels, scores, 400, tf.float64)
        check(kernel, pairs, tf.float64, "linear", arrays, mode="xla")


@pytest.mark.slow
def test_a_long_batch_compiled_holds_1e_6():
    arrays = batch("graded", "spread-to-50", 1200, tf.float32)
    check(LOGISTIC, "preference", tf.float32, "auto", arrays, mode="xla")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "pairwise_logistic",
        "pairwise_hinge",
        "pairwise_squared_hinge",
        "pairwise_mean_squared_error",
        "pairwise_soft_zero_one",
    ],
)
def test_a_number_of_rows_that_tracing_does_not_know(name):
    """Batches of `fit` have any number of rows, also compiled: that of each is known to XLA."""

    def value_and_slope(y_true, y_pred, query_ids):
        with tf.GradientTape() as tape:
            tape.watch(y_pred)
            value = getattr(losses, name)(y_true, y_pred, query_ids=query_ids).value
        return value, tape.gradient(value, y_pred)

    floats = tf.TensorSpec((None,))
    signature = [floats, floats, tf.TensorSpec((None,), tf.int64)]
    compiled = tf.function(value_and_slope, input_signature=signature, jit_compile=True)
    rng = np.random.default_rng(0)
    for rows, queries in ((0, 1), (7, 2), (300, 3), (1500, 4)):
        y_true = tf.constant(rng.integers(0, 4, rows), tf.float32)
        y_pred = tf.constant(2 * rng.normal(size=rows), tf.float32)
        query_ids = tf.constant(rng.integers(0, queries, rows))
        expected = value_and_slope(y_true, y_pred, query_ids)
        for found, wanted in zip(compiled(y_true, y_pred, query_ids), expected, strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("labels", ["graded", "many", "real"])
@pytest.mark.parametrize("kernel", [LOGISTIC, HINGE], ids=lambda kernel: kernel.name)
def test_work_is_linear_in_the_rows(monkeypatch, kernel, labels):
    visited = []
    pair_sums = static_tiles._pair_sums

    def counted(rule, i, j, met):
        visited.append(int(np.prod(met.shape)))
        return pair_sums(rule, i, j, met)

    monkeypatch.setattr(static_tiles, "_pair_sums", counted)
    for rows in (2000, 4000):
        visited.clear()
        rng = np.random.default_rng(0)
        y_true = LABELS[labels](rng, rows)
        arrays = y_true, rng.normal(size=rows), np.zeros(rows, np.int32), 1, np.ones(rows)
        eagerly(static_rule(kernel), "auto", arrays)
        block = static_tiles._TILES * static_tiles._SIDE**2
        # What is left in groups of less than `SMALLEST`, and a block of tiles for its end.
        assert sum(visited) <= 2 * rows * static.SMALLEST + block * 4
        if labels == "graded":
            assert not visited


@pytest.mark.parametrize("kernel", [LOGISTIC, HINGE], ids=lambda kernel: kernel.name)
def test_lists_are_what_tiles_are(kernel):
    rng = np.random.default_rng(3)
    query = np.repeat(np.arange(6), 7)
    query[rng.choice(42, 9, replace=False)] = -1
    arrays = rng.integers(0, 3, 42), rng.normal(size=42), query, 6, np.ones(42)
    in_lists = eagerly(static_rule(kernel), "auto", arrays, list_size=7)
    for one, other in zip(in_lists, eagerly(static_rule(kernel), "auto", arrays), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-9)
    expected = expected_of(kernel, "preference", arrays)
    assert_equal_sums(in_lists, expected)


@pytest.mark.parametrize("rows", [40, 2000])
@pytest.mark.parametrize("by_id", [True, False])
def test_no_index_is_computed_that_the_compiler_must_know(rows, by_id):
    """`x[i]` with a computed `i` is compiled by interpreting what leads to it: minutes."""

    @tf.function(jit_compile=True, autograph=False)
    def run(y_true, y_pred, ids):
        options = {"query_ids": ids} if by_id else {}
        with tf.GradientTape() as tape:
            tape.watch(y_pred)
            value = losses.pairwise_logistic(y_true, y_pred, **options).value
        return value, tape.gradient(value, y_pred)

    shape = [rows] if by_id else [rows // 20, 20]
    floats, ids = tf.TensorSpec(shape), tf.TensorSpec(shape, tf.int64)
    graph = run.get_concrete_function(floats, floats, ids).graph.as_graph_def()
    bodies = [graph.node, *(function.node_def for function in graph.library.function)]
    slices = [
        (node, {other.name for other in nodes if other.op == "Const"})
        for nodes in bodies
        for node in nodes
        if node.op == "StridedSlice"
    ]
    assert slices
    for node, constants in slices:
        assert node.input[1].split(":")[0] in constants, node.name
