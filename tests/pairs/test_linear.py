"""The linear methods hold their accuracy where it is hard to hold.

Relative error of the loss at most 1e-6 (float64 scores: 1e-12), and of each row's
gradient at most that much of the row's own sum of absolute pair terms.
"""

import numpy as np
import pytest
import tensorflow as tf

from keras_trainsteps.pairs import (
    HINGE,
    LOGISTIC,
    SOFT_ZERO_ONE,
    SQUARED_ERROR,
    SQUARED_HINGE,
    linear,
)
from tests.pairs.test_sums import runner
from tests.reference.pairs import pair_sums_by_blocks

RULES = [
    (LOGISTIC, "preference"),
    (LOGISTIC, "all"),
    (HINGE, "preference"),
    (SQUARED_HINGE, "preference"),
    (SQUARED_ERROR, "preference"),
    (SQUARED_ERROR, "all"),
    (SOFT_ZERO_ONE, "preference"),
]


def by_rule_of(default):
    """Every rule; those of another kernel than the `default` ones in the slow run."""
    return pytest.mark.parametrize(
        ("kernel", "pairs"),
        [
            pytest.param(
                *rule,
                id=f"{rule[0].name.lower()}-{rule[1]}",
                marks=() if rule[0] in default else pytest.mark.slow,
            )
            for rule in RULES
        ],
    )


by_rule = by_rule_of([LOGISTIC, HINGE, SQUARED_HINGE, SQUARED_ERROR])
one_rule = by_rule_of([HINGE])
LIMIT = {tf.float32: 1e-6, tf.float64: 1e-12}

LABELS = {
    "graded": lambda rng, rows: rng.integers(0, 5, rows),
    "binary": lambda rng, rows: rng.integers(0, 2, rows),
    "one-relevant": lambda rng, rows: np.arange(rows) == rows // 3,
    "real": lambda rng, rows: rng.normal(size=rows),
    "many": lambda rng, rows: rng.integers(-30, 30, rows),
}
SCORES = {
    "normal": lambda rng, y: rng.normal(size=len(y)),
    "equal": lambda rng, y: np.full(len(y), 0.7),
    "spread-to-1e4": lambda rng, y: rng.uniform(-1e4, 1e4, len(y)),
    "spread-to-50": lambda rng, y: rng.uniform(-50, 50, len(y)),
    "clustered": lambda rng, y: (
        rng.choice([-40, 0, 1, 35], len(y)) + 1e-3 * rng.normal(size=len(y))
    ),
    "integers": lambda rng, y: rng.integers(-3, 4, len(y)),
    "learned": lambda rng, y: 3 * y + 0.5 * rng.normal(size=len(y)),
    "well-separated": lambda rng, y: 28.5 * y + 0.2 * rng.normal(size=len(y)),
    "outlier": lambda rng, y: (
        np.where(y == y[0], rng.normal(size=len(y)), 0) + 1e15 * (np.arange(len(y)) == 5)
    ),
}


def assert_accurate(got, expected, limit, ties):
    totals, counts, gradient = got
    # Slopes below the smallest normal number are flushed to 0, then weighed, by 2 at most.
    tiny = 2 * np.finfo(np.float32).tiny if limit > 1e-9 else 1e-290
    assert np.all(np.isfinite(gradient))
    assert np.all(np.abs(totals - expected.totals) <= limit * expected.totals + tiny)
    np.testing.assert_allclose(counts, expected.counts, rtol=limit)
    # Pairs of equal labels pull with tanh(d / 2), which is 0 for equal scores: float64
    # arithmetic leaves 1e-16 a pair where the sum of absolute terms may be 0.
    tiny = max(tiny, ties * 1e-14 * np.max(expected.counts) ** 0.5)
    errors = np.abs(gradient - expected.gradient)
    assert np.all(errors <= limit * expected.magnitude + tiny)


def batch(labels, scores, rows, dtype, seed=0, queries=3):
    """Shuffled rows of a long, a shorter and a masked query and some short ones."""
    rng = np.random.default_rng(seed)
    y_true = np.asarray(LABELS[labels](rng, rows), np.float64)
    y_pred = SCORES[scores](rng, y_true)
    query = rng.choice([0, 0, 0, 1, -1], rows)
    query[rng.choice(rows, 40, replace=False)] = np.repeat(np.arange(2, 10), 5)
    weight = rng.choice([0.5, 1.0, 2.0], rows)
    kind = dtype.as_numpy_dtype
    return y_true.astype(kind), y_pred.astype(kind), query, 10, weight


def check(kernel, pairs, dtype, method, arrays, mode="graph", pair_weight="product"):
    y_true, y_pred, query, number, weight = arrays
    expected = pair_sums_by_blocks(
        *(kernel.name, y_true, y_pred, query, number),
        pairs=pairs,
        row_weight=weight,
        pair_weight=pair_weight,
    )
    run = runner(kernel, pairs, pair_weight, dtype, mode, method, most=len(y_true))
    ties = kernel is LOGISTIC and pairs == "all"
    assert_accurate(run(*arrays), expected, LIMIT[dtype], ties)


# Grades between two and many stand for both by default.
by_labels = pytest.mark.parametrize(
    "labels",
    [pytest.param(name, marks=() if name == "graded" else pytest.mark.slow) for name in LABELS],
)


@by_rule_of([LOGISTIC, HINGE])
@by_labels
def test_float32_holds_1e_6(kernel, pairs, labels):
    for scores in SCORES:
        check(kernel, pairs, tf.float32, "linear", batch(labels, scores, 500, tf.float32))


@pytest.mark.parametrize(
    ("kernel", "pairs"),
    [
        pytest.param(*rule, marks=() if rule[1] == "all" else pytest.mark.slow)
        for rule in RULES
        if rule[0] in (LOGISTIC, SQUARED_ERROR, SOFT_ZERO_ONE)
    ],
)
@by_labels
def test_float64_holds_1e_12(kernel, pairs, labels):
    for scores in ("normal", "spread-to-50", "integers", "learned", "well-separated"):
        check(kernel, pairs, tf.float64, "linear", batch(labels, scores, 400, tf.float64))


@one_rule
@pytest.mark.parametrize("method", ["auto", "exact"])
def test_methods_agree(kernel, pairs, method):
    arrays = batch("graded", "learned", 700, tf.float32, seed=1)
    check(kernel, pairs, tf.float32, method, arrays)


@pytest.mark.parametrize("pairs", ["preference", "all"])
@pytest.mark.slow
def test_rows_far_apart_take_no_more_memory_than_the_exact_path(pairs):
    y_true, y_pred, query, number, weight = batch("graded", "normal", 2500, tf.float32)
    arrays = y_true, 1e9 * y_pred, query, number, weight
    check(LOGISTIC, pairs, tf.float32, "linear", arrays)


def test_the_loss_of_a_learned_query_is_as_small_as_it_should_be():
    arrays = batch("binary", "well-separated", 500, tf.float32)
    run = runner(LOGISTIC, "preference", "product", tf.float32, "graph", "linear")
    totals, counts, _ = run(*arrays)
    assert 0 < totals[0] / counts[0] < 1e-12


def test_the_linear_method_is_what_long_queries_take(monkeypatch):
    seen = []
    exact_sums = linear.exact_sums

    def watched(rule, rows, groups):
        seen.append(np.asarray(groups.sizes))
        return exact_sums(rule, rows, groups)

    monkeypatch.setattr(linear, "exact_sums", watched)
    arrays = batch("graded", "normal", 500, tf.float32)
    runner(LOGISTIC, "preference", "product", tf.float32, "eager")(*arrays)
    assert sorted(seen[-1][seen[-1] > 0]) == [5] * 8  # the short queries alone


def rows_of(sizes):
    """Shuffled graded rows of queries of these sizes, and some of none."""
    rng = np.random.default_rng(2)
    query = rng.permutation(np.repeat(np.arange(-1, len(sizes)), [9, *sizes]))
    y_true = rng.integers(0, 5, len(query)).astype(np.float32)
    y_pred = rng.normal(size=len(query)).astype(np.float32)
    return y_true, y_pred, query, len(sizes), rng.choice([0.5, 1.0, 2.0], len(query))


@by_rule_of([LOGISTIC])
@pytest.mark.parametrize(
    ("sizes", "taken_along"),
    [([5, 300, 280, 1, 300, 290], True), ([5, 300, 1, 0, 9, 280], False)],
    ids=["few", "many"],
)
@pytest.mark.slow
@pytest.mark.parametrize("far", [False, True])
def test_small_queries_beside_long_ones(monkeypatch, kernel, pairs, sizes, taken_along, far):
    seen = []
    exact_sums = linear.exact_sums

    def watched(rule, rows, groups):
        seen.extend(np.asarray(groups.sizes))
        return exact_sums(rule, rows, groups)

    y_true, y_pred, query, number, weight = rows_of(sizes)
    if far:  # some long queries fail and are summed exactly
        y_pred = np.where(query == 1, 1e9, 1).astype(np.float32) * y_pred
    arrays = y_true, y_pred, query, number, weight
    check(kernel, pairs, tf.float32, "auto", arrays)
    if far or pairs == "all" or kernel in (HINGE, SQUARED_HINGE):
        return  # these choose otherwise
    monkeypatch.setattr(linear, "exact_sums", watched)
    runner(kernel, pairs, "product", tf.float32, "eager")(*arrays)
    assert sorted(size for size in seen if size) == ([] if taken_along else [1, 5, 9])


@pytest.mark.slow
@by_rule
@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("method", ["auto", "exact"])
def test_long_queries_hold_1e_6(kernel, pairs, labels, method):
    for scores in SCORES:
        check(kernel, pairs, tf.float32, method, batch(labels, scores, 4000, tf.float32))
