"""Kendall's tau-b per query, in time `rows * log(rows)` and memory `rows`."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from keras_trainsteps.metrics.bootstrap import Floats
from keras_trainsteps.metrics.by_query import Integers, Queries


def kendall_tau(old: Floats, new: Floats, queries: Queries) -> Floats:
    """Kendall's tau-b of two scores per query; NaN where one of them is constant.

    ```
    tau = (concordant - discordant) / sqrt((pairs - tied_old) * (pairs - tied_new))
    ```

    Reference:
        Knight, "A computer method for calculating Kendall's tau with ungrouped data", 1966.
    """
    starts = np.cumsum(queries.sizes) - queries.sizes
    first = starts[queries.query]
    new_query = np.zeros(len(queries.query), dtype=bool)
    new_query[starts] = True

    def sums(values: Integers) -> Integers:
        found: Integers = np.add.reduceat(values, starts, dtype=np.int64)
        return found

    by = np.lexsort((new[queries.order], queries.query))
    a, b = old[queries.order][by], new[queries.order][by]
    new_b = new_query | _changes(b)
    tied_new = sums(_earlier(new_b))
    run = np.cumsum(new_b)
    by = np.lexsort((a, queries.query))  # equal values keep the order of `b`
    a, rank = a[by], (run - run[first])[by]
    new_a = new_query | _changes(a)
    tied_old, tied_both = sums(_earlier(new_a)), sums(_earlier(new_a | _changes(rank)))
    pairs = queries.sizes * (queries.sizes - 1) // 2
    untied = pairs - tied_old - tied_new + tied_both
    balance = untied - 2 * sums(_inversions(rank, first, first + queries.sizes[queries.query]))
    norm = np.sqrt((pairs - tied_old).astype("float64") * (pairs - tied_new))
    tau: Floats = np.divide(balance, norm, out=np.full(len(norm), np.nan), where=norm > 0)
    return tau


def _changes(values: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Whether each value differs from the one before; the first does."""
    return np.concatenate([[True], values[1:] != values[:-1]])


def _earlier(new: npt.NDArray[np.bool_]) -> Integers:
    """For each row the number of rows before it in its run."""
    place = np.arange(len(new))
    return place - np.maximum.accumulate(np.where(new, place, 0))


def _inversions(rank: Integers, start: Integers, end: Integers) -> Integers:
    """For each place of a run `start .. end - 1` some of its pairs with the larger rank first.

    As in `metrics.pair_counts`: two ranks differ first in one bit, so each pair is counted
    once, in the node of the rows whose higher bits are equal.
    """
    place, found = np.arange(len(rank)), np.zeros(len(rank), dtype=np.int64)
    for bit in reversed(range(int(rank.max()).bit_length())):
        large = (rank >> bit & 1).astype(bool)
        so_far = np.concatenate([[0], np.cumsum(large)])
        before = so_far[:-1] - so_far[start]
        middle = end - so_far[end] + so_far[start]
        found += np.where(large, 0, before)
        moved = np.where(large, middle + before, place - before)
        rank = _scattered(rank, moved)
        in_lower = place < middle
        start, end = np.where(in_lower, start, middle), np.where(in_lower, middle, end)
    return found


def _scattered(values: Integers, places: Integers) -> Integers:
    scattered = np.empty_like(values)
    scattered[places] = values
    return scattered
