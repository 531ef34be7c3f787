"""Rows of arrays: grouped by query, cut into batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf


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


def rows_of_queries(ids: npt.NDArray[Any]) -> list[npt.NDArray[np.int_]]:
    """The rows of each query, queries in the order of their first rows."""
    _, first, query = np.unique(ids, return_index=True, return_inverse=True)
    by_query = np.argsort(query, kind="stable")
    parts = np.split(by_query, np.cumsum(np.bincount(query))[:-1])
    return [parts[i] for i in np.argsort(first)]


def spec_of(array: npt.NDArray[Any]) -> tf.TensorSpec:
    """What a batch of rows of this array looks like to `tf.data`."""
    text = array.dtype.kind in "OSU"
    return tf.TensorSpec((None, *array.shape[1:]), tf.string if text else array.dtype)


def as_element(parts: tuple[Any, ...]) -> Any:
    """`x` alone, or the tuple that Keras takes."""
    return parts[0] if len(parts) == 1 else parts
