"""Lists of one length are one tile, whatever is missing in them; other batches are not."""

import numpy as np
import pytest
import tensorflow as tf

from keras_trainsteps.pairs import HINGE, LOGISTIC, SQUARED_ERROR, PairFactor, pair_sums, traced
from tests.pairs.test_sums import assert_equal_sums, totals_counts_gradient
from tests.reference import pairs as reference

LISTS, SIZE = 5, 6


def rows_of_lists(missing):
    rng = np.random.default_rng(missing)
    query = np.repeat(np.arange(LISTS), SIZE)
    query[rng.choice(len(query), missing, replace=False)] = -1
    y_true = rng.integers(0, 3, len(query)).astype(np.float32)
    y_pred = rng.normal(size=len(query)).astype(np.float32)
    return y_true, y_pred, query.astype(np.int32), rng.choice([0.5, 1, 3], len(query))


@pytest.fixture
def others(monkeypatch):
    """How often a batch went the general way."""
    seen = []
    for name in ("exact_sums", "linear_sums"):
        method = getattr(traced, name)

        def watched(*arguments, method=method, **options):
            seen.append(method.__name__)
            return method(*arguments, **options)

        monkeypatch.setattr(traced, name, watched)
    return seen


@pytest.mark.parametrize(
    ("kernel", "pairs"),
    [(LOGISTIC, "preference"), (LOGISTIC, "all"), (HINGE, "preference"), (SQUARED_ERROR, "all")],
)
@pytest.mark.parametrize("missing", [0, 11])
@pytest.mark.parametrize("weighted", [False, True])
def test_lists_equal_plain_loops(others, kernel, pairs, missing, weighted):
    y_true, y_pred, query, weight = rows_of_lists(missing)
    arrays = tf.constant(y_true), tf.constant(y_pred), tf.constant(query), LISTS
    options = {"row_weight": tf.constant(weight)} if weighted else {}
    got = totals_counts_gradient(kernel, *arrays, pairs=pairs, list_size=SIZE, **options)
    expected = reference.pair_sums(
        kernel.name,
        y_true,
        y_pred,
        query,
        LISTS,
        pairs=pairs,
        row_weight=weight if weighted else None,
    )
    assert_equal_sums([x.numpy().astype(np.float64) for x in got], expected)
    # Squared errors of all pairs have a closed form that is faster still.
    assert others == (["linear_sums"] if kernel is SQUARED_ERROR else [])


def test_lists_are_seen_without_a_size(others):
    y_true, y_pred, query, _ = rows_of_lists(0)
    pair_sums(LOGISTIC, tf.constant(y_true), tf.constant(y_pred), tf.constant(query), LISTS)
    assert not others


@pytest.mark.parametrize("kind", ["shuffled", "uneven", "long"])
def test_other_batches_go_the_other_way(others, kind):
    rng = np.random.default_rng(0)
    sizes = {"shuffled": [6] * 5, "uneven": [6, 5, 6], "long": [70] * 2}[kind]
    query = np.repeat(np.arange(len(sizes)), sizes).astype(np.int32)
    if kind == "shuffled":
        query = rng.permutation(query)
    y_true = rng.integers(0, 3, len(query)).astype(np.float32)
    y_pred = rng.normal(size=len(query)).astype(np.float32)
    arrays = tf.constant(y_true), tf.constant(y_pred), tf.constant(query), len(sizes)
    got = totals_counts_gradient(LOGISTIC, *arrays)
    expected = reference.pair_sums("LOGISTIC", y_true, y_pred, query, len(sizes))
    assert_equal_sums([x.numpy().astype(np.float64) for x in got], expected, ulps=8)
    assert others == ["linear_sums"]


def test_a_factor_sees_lists_too(others):
    y_true, y_pred, query, _ = rows_of_lists(7)
    factor = PairFactor(lambda i, j: tf.abs(i["y"] - j["y"]), {"y": tf.constant(y_true)})
    arrays = tf.constant(y_true), tf.constant(y_pred), tf.constant(query), LISTS
    got = totals_counts_gradient(LOGISTIC, *arrays, pair_factor=factor, list_size=SIZE)
    expected = reference.pair_sums(
        "LOGISTIC",
        y_true,
        y_pred,
        query,
        LISTS,
        factor=lambda i, j: abs(float(y_true[i]) - float(y_true[j])),
    )
    assert_equal_sums([x.numpy().astype(np.float64) for x in got], expected)
    assert not others
