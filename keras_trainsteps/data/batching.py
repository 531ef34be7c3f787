"""Batches of rows that never cut a query."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf


def query_batches(
    x: Mapping[str, Any],
    y: Any = None,
    sample_weight: Any = None,
    *,
    query_ids: str,
    batch_size: int = 1024,
    shuffle: bool = True,
    seed: int | None = None,
) -> tf.data.Dataset:
    """A dataset whose batches hold whole queries, for `fit`, `evaluate` and `predict`.

    `fit(shuffle=True)` on arrays draws rows, which scatters a query over batches: most of
    its pairs are never seen, and metrics by query are wrong. Here every epoch has the same
    number of batches, `ceil(rows / batch_size)` (or one a query, if these are fewer),
    and each ends with the query that comes nearest to its share of the rows.

    Args:
        x: A dict of arrays of one entry a row, the query ids among them.
        y: Targets: an array, or a dict, list or tuple of arrays, of one entry a row.
        sample_weight: Weights, one a row.
        query_ids: The name of the entry of `x` with the ids, integers or strings, in any
            order, not necessarily contiguous.
        batch_size: Rows of a batch, on average at most: whole queries make batches differ.
        shuffle: Whether each epoch draws the order of the queries anew. If not, queries
            come in the order of their first rows. Rows keep their order within a query.
        seed: Makes the orders of the epochs repeatable. Default: they are not.

    Returns:
        A `tf.data.Dataset` of `x`, `(x, y)` or `(x, y, sample_weight)`. Floats are cast to
        Keras's `floatx`, as `fit` does with arrays.

    Raises:
        ValueError: For a `batch_size` below 1, a missing id entry, arrays of different
            lengths, no rows.
        TypeError: For an `x` that is no dict, ids that are neither integers nor strings.

    Example:

    >>> x = {"features": np.eye(5), "query_id": np.array([7, 8, 7, 9, 8])}
    >>> batches = query_batches(x, query_ids="query_id", batch_size=3, shuffle=False)
    >>> [batch["query_id"].numpy().tolist() for batch in batches]
    [[7, 7], [8, 8, 9]]
    """
    if not isinstance(batch_size, int | np.integer) or batch_size < 1:
        raise ValueError(
            f"`batch_size` must be an integer of at least 1. Received: {batch_size!r}."
        )
    if not isinstance(x, Mapping):
        raise TypeError(
            "`x` must be a dict of arrays with the query ids among them. "
            f"Received: {type(x).__name__}. Pass `{{'features': ..., {query_ids!r}: ...}}`."
        )
    if query_ids not in x:
        raise ValueError(
            f"`query_ids` must name an entry of `x`. Received: {query_ids!r}, "
            f"where `x` has {sorted(x)}."
        )
    if y is None and sample_weight is not None:
        raise ValueError(
            "`sample_weight` weighs the loss of targets. Received: weights without `y`. Pass "
            "the weights as an entry of `x`."
        )
    given = [part for part in (dict(x), y, sample_weight) if part is not None]
    data = keras.tree.map_structure(_array, tuple(given))
    _require_one_length(data)
    rows_of = _rows_of_queries(_ids(data[0][query_ids], query_ids))
    sizes = np.array([len(rows) for rows in rows_of])
    epoch_seeds = np.random.SeedSequence(seed)

    def epochs() -> Iterator[Any]:
        order = np.arange(len(sizes))
        if shuffle:
            np.random.default_rng(epoch_seeds.spawn(1)[0]).shuffle(order)
        for queries in np.split(order, _cuts(sizes[order], batch_size)):
            index = np.concatenate([rows_of[query] for query in queries])
            yield _element(keras.tree.map_structure(operator.itemgetter(index), data))

    spec = keras.tree.map_structure(_spec, data)
    dataset = tf.data.Dataset.from_generator(epochs, output_signature=_element(spec))
    batches = len(_cuts(sizes, batch_size)) + 1
    return dataset.apply(tf.data.experimental.assert_cardinality(batches)).prefetch(2)


def _cuts(sizes: npt.NDArray[np.int_], batch_size: int) -> npt.NDArray[np.int_]:
    """Where to cut queries of these sizes into batches of nearly equal numbers of rows."""
    batches = min(len(sizes), -(-int(sizes.sum()) // batch_size))
    ends = np.concatenate([[0], np.cumsum(sizes)])
    targets = np.arange(1, batches) * ends[-1] / batches
    above = np.searchsorted(ends, targets)
    nearest = above - (targets - ends[above - 1] < ends[above] - targets)
    steps = np.arange(batches - 1)  # at least one query for each batch before and after
    cuts = np.maximum.accumulate(np.maximum(nearest, 1) - steps) + steps
    return np.minimum(cuts, len(sizes) - batches + 1 + steps)


def _rows_of_queries(ids: npt.NDArray[Any]) -> list[npt.NDArray[np.int_]]:
    """The rows of each query, queries in the order of their first rows."""
    _, first, query = np.unique(ids, return_index=True, return_inverse=True)
    by_query = np.argsort(query, kind="stable")
    parts = np.split(by_query, np.cumsum(np.bincount(query))[:-1])
    return [parts[i] for i in np.argsort(first)]


def _ids(ids: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    if ids.ndim == 2 and ids.shape[1] == 1:
        ids = ids[:, 0]
    if ids.ndim != 1:
        raise ValueError(f"`x[{name!r}]` must have one id a row. Received: shape {ids.shape}.")
    if ids.dtype.kind not in "iuOSU":
        raise TypeError(
            f"`x[{name!r}]` must be integers or strings: floats cannot hold ids exactly. "
            f"Received: dtype {ids.dtype}."
        )
    return ids


def _array(values: Any) -> npt.NDArray[Any]:
    array = np.asarray(values)
    if array.dtype.kind == "f":
        return array.astype(keras.config.floatx())
    return array


def _spec(array: npt.NDArray[Any]) -> tf.TensorSpec:
    text = array.dtype.kind in "OSU"
    return tf.TensorSpec((None, *array.shape[1:]), tf.string if text else array.dtype)


def _element(parts: tuple[Any, ...]) -> Any:
    return parts[0] if len(parts) == 1 else parts


def _require_one_length(data: Any) -> None:
    lengths = {len(array) if array.ndim else 0 for array in keras.tree.flatten(data)}
    if len(lengths) > 1 or 0 in lengths:
        raise ValueError(
            "All arrays must have one entry a row, and at least one row. "
            f"Received: arrays of {sorted(lengths)} rows."
        )
