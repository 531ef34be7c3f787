"""Rows of arrays: checked, grouped by query, cut into batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

Arrays: TypeAlias = npt.ArrayLike | Mapping[str, npt.ArrayLike] | Sequence[npt.ArrayLike]
"""An array, or those of several outputs in a dict, list or tuple."""


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


def checked_ids(ids: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    """The ids as one per row; refuses what cannot be an id."""
    if ids.ndim == 2 and ids.shape[1] == 1:
        ids = ids[:, 0]
    if ids.ndim != 1:
        raise ValueError(f"`x[{name!r}]` must have one id per row. Received: shape {ids.shape}.")
    if ids.dtype.kind not in "iuOSU":
        raise TypeError(
            f"`x[{name!r}]` must be integers or strings: floats cannot hold ids exactly. "
            f"Received: dtype {ids.dtype}."
        )
    return ids


def as_array(values: Any) -> npt.NDArray[Any]:
    """An array, floats in Keras's `floatx` as `fit` reads them."""
    array = np.asarray(values)
    if array.dtype.kind == "f":
        return array.astype(keras.config.floatx())
    return array


def spec_of(array: npt.NDArray[Any]) -> tf.TensorSpec:
    """What a batch of rows of this array looks like to `tf.data`."""
    text = array.dtype.kind in "OSU"
    return tf.TensorSpec((None, *array.shape[1:]), tf.string if text else array.dtype)


def as_element(parts: tuple[Any, ...]) -> Any:
    """`x` alone, or the tuple that Keras takes."""
    return parts[0] if len(parts) == 1 else parts


def require_one_length(data: Any) -> None:
    """Refuses arrays of different lengths, or without a row."""
    lengths = {len(array) if array.ndim else 0 for array in keras.tree.flatten(data)}
    if len(lengths) > 1 or 0 in lengths:
        raise ValueError(
            "All arrays must have one entry per row, and at least one row. "
            f"Received: arrays of {sorted(lengths)} rows."
        )
