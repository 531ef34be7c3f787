"""Tiles: whatever way the pairs are cut up, each is summed once."""

import numpy as np
import pytest
import tensorflow as tf

from keras_trainsteps.pairs import LOGISTIC, SOFT_ZERO_ONE, exact
from keras_trainsteps.pairs.exact import exact_sums
from keras_trainsteps.pairs.groups import group_rows
from keras_trainsteps.pairs.rules import PairRows, PairRule
from tests.pairs.test_sums import ROWS, assert_equal_sums, runner, totals_counts_gradient
from tests.reference import pairs as reference

SIZES = [70, 1, 33, 2, 2, 3, 0, 16, 15, 1, 40]


def rows_of_sizes(sizes, seed=0):
    rng = np.random.default_rng(seed)
    query = rng.permutation(np.repeat(np.arange(len(sizes)), sizes)).astype(np.int32)
    y_true = rng.integers(0, 4, len(query)).astype(np.float32)
    y_pred = (4 * rng.normal(size=len(query))).astype(np.float32)
    return y_true, y_pred, query


@pytest.mark.slow
@pytest.mark.parametrize("pairs", ["preference", "all"])
@pytest.mark.parametrize("tile_pairs", [64, 1000, 5000])
@pytest.mark.parametrize("small_pairs", [0, 100])
def test_tiles_of_any_size_give_the_same_sums(monkeypatch, pairs, tile_pairs, small_pairs):
    monkeypatch.setattr(exact, "_TILE_PAIRS", tile_pairs)
    monkeypatch.setattr(exact, "_SMALL_PAIRS", small_pairs)
    y_true, y_pred, query = rows_of_sizes(SIZES)
    got = totals_counts_gradient(
        LOGISTIC,
        tf.constant(y_true),
        tf.constant(y_pred),
        tf.constant(query),
        len(SIZES),
        pairs=pairs,
        method="exact",
    )
    expected = reference.pair_sums("LOGISTIC", y_true, y_pred, query, len(SIZES), pairs=pairs)
    assert_equal_sums([x.numpy().astype(np.float64) for x in got], expected)


@pytest.mark.slow
@pytest.mark.parametrize("kernel", [LOGISTIC, SOFT_ZERO_ONE], ids=lambda kernel: kernel.name)
@pytest.mark.parametrize("mode", ["graph", "xla"])
@pytest.mark.parametrize(
    ("dtype", "limit", "span"), [(tf.float32, 1e-6, 80.0), (tf.float64, 1e-12, 600.0)]
)
def test_terms_of_odds_hold_to_where_they_end(kernel, mode, dtype, limit, span):
    """Just inside the span in which odds are taken, just outside, and far outside."""
    kind = dtype.as_numpy_dtype
    run = runner(kernel, "preference", "product", dtype, mode, "exact")
    tiny = np.finfo(np.float32).tiny if dtype == tf.float32 else 1e-290  # flushed to 0
    for spread in (0.0, 1e-3, 1.0, 0.999 * span, 1.001 * span, 20 * span):
        for shift in (0.0, -1e4):
            rng = np.random.default_rng(0)
            y_true = rng.integers(0, 3, ROWS).astype(kind)
            y_pred = np.linspace(0, spread, ROWS)[rng.permutation(ROWS)] + shift
            query = rng.integers(0, 2, ROWS)
            query[np.argsort(y_pred)[[0, -1]]] = 0  # the whole span in one query
            y_pred = y_pred.astype(kind)
            expected = reference.pair_sums(kernel.name, y_true, y_pred, query, 2)
            totals, _, gradient = run(y_true, y_pred, query, 2)
            assert np.all(np.abs(totals - expected.totals) <= limit * expected.totals + tiny)
            errors = np.abs(gradient - expected.gradient)
            assert np.all(errors <= limit * expected.magnitude + tiny)


def test_work_follows_the_sum_of_squared_group_sizes(monkeypatch):
    visited = []
    tile_sums = exact.tile_sums

    def counted(rule, i, j, allowed, near):
        visited.append(int(np.prod(i.score.shape)) * j.score.shape[-1])
        return tile_sums(rule, i, j, allowed, near)

    monkeypatch.setattr(exact, "tile_sums", counted)
    sizes = [1000] + [10] * 400
    y_true, y_pred, query = rows_of_sizes(sizes)
    labels, scores = (tf.constant(x, tf.float64) for x in (y_true, y_pred))
    rule = PairRule(LOGISTIC, False, False, False, None, tf.float32)
    groups = group_rows(tf.constant(query), tf.constant(sizes))
    exact_sums(rule, PairRows(labels, scores, None, {}), groups)
    assert sum(visited) <= 1.5 * sum(size**2 for size in sizes)
    assert max(visited) <= max(exact._TILE_PAIRS, 1000)
