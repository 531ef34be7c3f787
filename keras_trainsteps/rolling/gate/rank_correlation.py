"""Kendall's tau-b per query, in time `rows * log(rows)**2` and memory `rows`."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from keras_trainsteps.rolling.gate.queries import Floats, Integers, Queries


def kendall_tau(old: Floats, new: Floats, queries: Queries) -> Floats:
    """Kendall's tau-b of two scores per query; NaN where one of them is constant.

    ```
    tau = (concordant - discordant) / sqrt((pairs - tied_old) * (pairs - tied_new))
    ```

    Reference:
        Knight, "A computer method for calculating Kendall's tau with ungrouped data", 1966.
    """
    a, b = (_ranks(queries.query, scores[queries.order]) for scores in (old, new))
    pairs = queries.sizes * (queries.sizes - 1) // 2
    tied_old, tied_new, tied_both = (_tied(queries, *by) for by in ((a,), (b,), (a, b)))
    untied = pairs - tied_old - tied_new + tied_both
    balance = untied - 2 * _discordant(queries, a, b)
    norm = np.sqrt((pairs - tied_old).astype("float64") * (pairs - tied_new))
    tau: Floats = np.divide(balance, norm, out=np.full(len(norm), np.nan), where=norm > 0)
    return tau


def _ranks(query: Integers, values: npt.NDArray[Any]) -> Integers:
    """Dense ranks from 0 within each query: equal values have equal ranks."""
    rank = _joined(query, np.unique(values, return_inverse=True)[1])
    first = np.full(query[-1] + 1, len(rank))
    np.minimum.at(first, query, rank)
    ranks: Integers = rank - first[query]
    return ranks


def _joined(left: Integers, right: Integers) -> Integers:
    """One index per pair of indices, in the order of the pairs."""
    joined: Integers = np.unique(left * (right.max() + 1) + right, return_inverse=True)[1]
    return joined


def _tied(queries: Queries, *keys: Integers) -> Integers:
    """How many pairs of rows per query are equal in every key."""
    index = queries.query
    for key in keys:
        index = _joined(index, key)
    _, first, counts = np.unique(index, return_index=True, return_counts=True)
    return _sums(queries, queries.query[first], counts * (counts - 1) // 2)


def _discordant(queries: Queries, a: Integers, b: Integers) -> Integers:
    """How many pairs of rows per query are ordered one way by `a`, the other by `b`.

    In the order of `a` these are the inversions of `b`. Two ranks differ first in one bit,
    so each is counted once: where the bits above are equal and the larger comes first.
    """
    order = np.lexsort((b, a, queries.query))
    query, b = queries.query[order], b[order]
    total = np.zeros(len(queries.sizes), dtype=np.int64)
    for bit in range(int(b.max()).bit_length()):
        alike = _joined(query, b >> (bit + 1))
        by = np.argsort(alike, kind="stable")
        large = (b[by] >> bit) & 1
        before = np.cumsum(large) - large
        starts = np.searchsorted(alike[by], alike[by])
        total += _sums(queries, query[by], (before - before[starts]) * (1 - large))
    return total


def _sums(queries: Queries, query: Integers, values: Integers) -> Integers:
    """Sums of integers per query, exact."""
    sums = np.zeros(len(queries.sizes), dtype=np.int64)
    np.add.at(sums, query, values)
    return sums
