"""Batches of whole queries of a fixed number of rows: the rest is copies that do not count."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_trainsteps.data.gathering import Pass
from keras_trainsteps.data.order import ROW_MASK
from keras_trainsteps.data.rows import Queries

TRIALS = 16
WORTH_ANOTHER_SIZE = 0.8


def fixed_sizes(queries: Queries, batch_size: int, *, shuffle: bool) -> tuple[int, ...]:
    """The sizes that batches are filled up to: one, or two where that saves a fifth of the rows.

    Where queries differ much, the largest batch of any order is far above the usual one. Then
    usual batches are of the first size, and only larger ones of the second.
    """
    numbers = np.arange(len(queries.sizes))
    generator = np.random.default_rng(0)
    orders = [generator.permutation(numbers) for _ in range(TRIALS)] if shuffle else [numbers]
    seen = np.sort(
        np.concatenate([np.diff(queries.in_batches(order, batch_size)[1]) for order in orders])
    )
    largest = int(seen[-1])
    if shuffle:  # a cut is at most half a query from its place
        share = -(-int(queries.sizes.sum()) // queries.number_of_batches(batch_size))
        largest = min(share + int(queries.sizes.max()), int(queries.sizes.sum()))
    below = np.arange(1, len(seen) + 1)
    rows = below * seen + (len(seen) - below) * largest  # with each as the first size
    best = int(rows.argmin())
    if rows[best] > WORTH_ANOTHER_SIZE * largest * len(seen):
        return (largest,)
    return int(seen[best]), largest


def with_row_mask(data: tuple[Any, ...], rows: int) -> tuple[Any, ...]:
    """The arrays with an entry in `x` for the mask of the rows.

    Raises:
        ValueError: For an `x` that has such an entry, or is no dict.
    """
    x, *others = data
    if not isinstance(x, Mapping) or ROW_MASK in x:
        received = f"an entry {ROW_MASK!r}" if isinstance(x, Mapping) else type(x).__name__
        raise ValueError(
            f"`x` must be a dict, whose entry {ROW_MASK!r} will say which rows count, where "
            f"`pad=True`. Received: {received}."
        )
    return {**x, ROW_MASK: np.ones(rows, bool)}, *others


def filled(passed: Pass, sizes: tuple[int, ...]) -> Pass:
    """A pass with every batch filled up to the first of the sizes that holds it.

    What fills it up is `~row` of its first row: a negative number.
    """
    rows, ends = passed
    counts = np.diff(ends)
    size = np.asarray(sizes)[np.searchsorted(sizes, counts)]
    new_ends = np.concatenate([[0], np.cumsum(size)])
    all_rows = np.repeat(~rows[ends[:-1]], size)
    all_rows[np.arange(len(rows)) + np.repeat(new_ends[:-1] - ends[:-1], counts)] = rows
    return all_rows, new_ends
