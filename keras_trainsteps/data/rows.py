"""Rows of arrays: grouped by query, cut into batches."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf


class Queries(NamedTuple):
    """Which rows belong to which query.

    Attributes:
        rows: The rows of the first query, then those of the second, and so on.
        sizes: The number of rows of each query.
    """

    rows: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]

    def number_of_batches(self, batch_size: int) -> int:
        """How many batches of whole queries there are, whatever the order."""
        return len(cut_points(self.sizes, batch_size)) + 1

    def in_batches(
        self, order: npt.NDArray[np.int64], batch_size: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The rows of queries in an order, and where each batch begins, then the last ends."""
        sizes = self.sizes[order]
        begins = (np.cumsum(self.sizes) - self.sizes)[order]
        ends = np.cumsum(sizes)
        places = np.repeat(begins - ends + sizes, sizes) + np.arange(ends[-1])
        cuts = ends[cut_points(sizes, batch_size) - 1]
        return self.rows[places], np.concatenate([[0], cuts, ends[-1:]])


def queries_of(ids: npt.NDArray[Any]) -> Queries:
    """The rows of each query, queries in the order of their first rows."""
    _, first, query, sizes = np.unique(
        ids, return_index=True, return_inverse=True, return_counts=True
    )
    order = np.argsort(first)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return Queries(np.argsort(place[query], kind="stable"), sizes[order])


def cut_points(sizes: npt.NDArray[np.int_], batch_size: int) -> npt.NDArray[np.int_]:
    """Where to cut queries of these sizes into batches of nearly equal numbers of rows."""
    batches = min(len(sizes), -(-int(sizes.sum()) // batch_size))
    ends = np.concatenate([[0], np.cumsum(sizes)])
    targets = np.arange(1, batches) * ends[-1] / batches
    above = np.searchsorted(ends, targets)
    nearest = above - (targets - ends[above - 1] < ends[above] - targets)
    steps = np.arange(batches - 1)  # at least one query for each batch before and after
    cuts = np.maximum.accumulate(np.maximum(nearest, 1) - steps) + steps
    return np.minimum(cuts, len(sizes) - batches + 1 + steps)


def spec_of(array: npt.NDArray[Any], rows: int | None = None) -> tf.TensorSpec:
    """What a batch of rows of this array looks like to `tf.data`, of so many or any number."""
    text = array.dtype.kind in "OSU"
    return tf.TensorSpec((rows, *array.shape[1:]), tf.string if text else array.dtype)


def as_element(parts: tuple[Any, ...]) -> Any:
    """`x` alone, or the tuple that Keras takes."""
    return parts[0] if len(parts) == 1 else parts
