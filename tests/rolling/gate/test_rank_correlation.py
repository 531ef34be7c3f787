"""Kendall's tau-b against plain loops and SciPy, in memory that grows with the rows."""

import math
import tracemalloc

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from keras_trainsteps.metrics.by_query import group
from keras_trainsteps.rolling.gate.rank_correlation import kendall_tau

RNG = np.random.default_rng(0)


def tau(old, new, query_ids=None):
    old, new = np.asarray(old, "float64"), np.asarray(new, "float64")
    ids = np.zeros(len(old), int) if query_ids is None else query_ids
    return kendall_tau(old, new, group(ids))


def test_tau_against_plain_loops():
    old, new = RNG.integers(0, 5, 9), RNG.integers(0, 5, 9)
    agree = left = both = 0
    for i in range(9):
        for j in range(i):
            a, b = np.sign(old[i] - old[j]), np.sign(new[i] - new[j])
            agree, left, both = agree + a * b, left + (a != 0), both + (b != 0)
    assert tau(old, new) == pytest.approx(agree / math.sqrt(left * both))


ROWS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(-4, 4), st.integers(-4, 4)), min_size=1, max_size=30
)


@given(rows=ROWS)
def test_tau_of_each_query_is_that_of_scipy(rows):
    query, old, new = np.array(rows).T
    found = tau(old / 7, new * 1e3, query)
    for value, q in zip(found, np.unique(query), strict=True):
        a, b = old[query == q], new[query == q]
        if len(set(a)) == 1 or len(set(b)) == 1:
            assert math.isnan(value)
        else:
            assert value == pytest.approx(scipy.stats.kendalltau(a, b).statistic, abs=1e-12)


@pytest.mark.parametrize("queries", [1, 500])
def test_many_rows_need_memory_of_their_number(queries):
    rows = 100_000
    old, new = RNG.normal(size=rows), RNG.normal(size=rows)
    ids = np.arange(rows) % queries
    tracemalloc.start()
    found = tau(old, new, ids)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200 * rows  # bytes; all pairs of one query would be 1e10
    first = ids == 0
    expected = scipy.stats.kendalltau(old[first], new[first]).statistic
    assert found[0] == pytest.approx(expected, abs=1e-12)
