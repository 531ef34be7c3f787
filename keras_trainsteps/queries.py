"""Rows grouped by query: the checked, flat form of what ranking losses and metrics take."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from keras_trainsteps import compat, replicas
from keras_trainsteps.step import running
from keras_trainsteps.step.terms import FAILED, LossTerm
from keras_trainsteps.validation import as_float, refuse


class RankingRows(NamedTuple):
    """The rows of a batch, flat, each with the dense index of its query.

    Under several replicas these are the rows of all of them. Each query belongs to the
    replica that holds its first row (`owned`), so that sums over the replicas count
    each query once.

    Attributes:
        y_true: Labels, shape `(rows,)`, dtype of `y_pred`.
        y_pred: Scores, shape `(rows,)`, float32 or float64.
        query: Dense query index, int32, shape `(rows,)`; -1 for a masked row.
        num_queries: An int32 scalar above every index. It is the number of queries, or,
            where shapes must be static (XLA), the number of rows.
        weight: Weight of each row, shape `(rows,)`, or `None`.
        owned: For each query index whether it belongs to this replica, bool, shape
            `(num_queries,)`, or `None` where there is one replica.
        ids: The id of each query index, int64, shape `(num_queries,)`; hashes of ids that are
            text. `None` for padded lists.

    Example:

    >>> rows = ranking_rows([1.0, 0.0], [0.3, 0.7], query_ids=["a", "b"])
    >>> rows.query.numpy().tolist(), int(rows.num_queries)
    ([0, 1], 2)
    """

    y_true: tf.Tensor
    y_pred: tf.Tensor
    query: tf.Tensor
    num_queries: tf.Tensor
    weight: tf.Tensor | None
    owned: tf.Tensor | None
    ids: tf.Tensor | None = None


def ranking_rows(
    y_true: Any,
    y_pred: Any,
    *,
    query_ids: Any = None,
    mask: Any = None,
    sample_weight: Any = None,
) -> RankingRows:
    """Checks and flattens a batch of ranking rows.

    Args:
        y_true: Labels, shape `(rows,)` or `(rows, 1)`; or padded lists `(queries, list)`
            when there are no `query_ids`.
        y_pred: Scores, of the same number of entries. Scores narrower than float32 are
            widened to float32.
        query_ids: Integer or string ids, shape `(rows,)` or `(rows, 1)`, in any order,
            of any values. `None` for padded lists: each list is one query.
        mask: Bool, of the shape of the labels; `False` rows belong to no query.
        sample_weight: One weight a row, of the shape of the labels; not negative.

    Raises:
        TypeError: For ids that are neither integers nor strings.
        ValueError: For shapes that do not fit each other, and, but for XLA, for weights
            that are negative or not numbers.
    """
    given = query_ids, mask
    y_pred = widen(tf.convert_to_tensor(y_pred))
    y_true = as_float(y_true, y_pred.dtype)
    if query_ids is None:
        _require_lists(y_true, y_pred)
        lists = tf.shape(y_pred)[0]
        query_ids = tf.repeat(tf.range(lists), tf.shape(y_pred)[1])
        fits = "lists"
    else:
        query_ids = _ids(query_ids)
        fits = "rows"
    shape = y_true.shape
    flat = {"y_true": y_true, "y_pred": y_pred, "query_ids": query_ids}
    if mask is not None:
        flat["mask"] = _like_labels(tf.cast(mask, tf.bool), shape, "mask", fits)
    if sample_weight is not None:
        weight = as_float(sample_weight, y_pred.dtype)
        weight = _like_labels(weight, shape, "sample_weight", fits)
        flat["sample_weight"] = checked_weights(weight)
    flat = {name: _rows(value, name, fits) for name, value in flat.items()}
    flat = _of_one_length(flat)

    own_rows = tf.shape(flat["y_pred"])[0]
    first = replicas.first_own_row(own_rows)
    if fits == "lists" and replicas.num_replicas() > 1:
        flat["query_ids"] = flat["query_ids"] + first  # lists of two replicas stay apart
    flat = {name: replicas.gather_rows(value) for name, value in flat.items()}
    query, num_queries, ids = dense_queries(flat["query_ids"])
    owned = None
    if replicas.num_replicas() > 1:
        rows = tf.range(tf.shape(query)[0])
        first_row = tf.math.unsorted_segment_min(rows, query, num_queries)
        owned = (first_row >= first) & (first_row < first + own_rows)
    if "mask" in flat:
        query = tf.where(flat["mask"], query, -1)
    weight = flat.get("sample_weight")
    rows = RankingRows(flat["y_true"], flat["y_pred"], query, num_queries, weight, owned)
    if fits == "lists":
        return rows
    grouped = running.QueryRows(ids, query, num_queries, rows.y_true, mask is not None)
    running.note_queries(*given, grouped)
    return rows._replace(ids=ids)


def dense_queries(query_ids: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Integer ids as indices `0 .. n - 1`, a number above every index, and the id of each."""
    if not compat.in_xla():
        ids, query = tf.unique(query_ids)
        return query, tf.size(ids), ids
    rows = tf.shape(query_ids)[0]
    order = tf.argsort(query_ids, stable=True)
    ordered = tf.gather(query_ids, order)
    new = tf.cast(ordered[1:] != ordered[:-1], tf.int32)
    index = tf.concat([tf.zeros_like(order[:1]), tf.cumsum(new)], axis=0)
    query = tf.gather(index, tf.argsort(order))
    return query, rows, tf.math.unsorted_segment_max(query_ids, query, rows)


def owned_term(totals: tf.Tensor, counts: tf.Tensor, owned: tf.Tensor | None) -> LossTerm:
    """One term out of per-query totals and counts.

    Under several replicas the value is the sum over this replica's own queries, while
    the gradient is that of all queries: each replica sees it for its own rows.
    """
    if owned is not None:
        totals = tf.where(owned, totals, totals - tf.stop_gradient(totals))
        counts = tf.where(owned, counts, tf.zeros_like(counts))
    return LossTerm(tf.reduce_sum(totals), tf.reduce_sum(counts))


def query_sizes(rows: RankingRows) -> tf.Tensor:
    """How many queries of this replica have one row, and how many more; shape `(2,)`."""
    ones = tf.ones_like(rows.query)
    sizes = tf.math.unsorted_segment_sum(ones, rows.query, rows.num_queries)
    if rows.owned is not None:
        sizes = tf.where(rows.owned, sizes, tf.zeros_like(sizes))
    counted = [tf.reduce_sum(tf.cast(kind, tf.float64)) for kind in (sizes == 1, sizes > 1)]
    return tf.stack(counted)


def ranks(key: tf.Tensor, rows: RankingRows) -> tf.Tensor:
    """The position, from 0, of each row among those of its query by descending `key`.

    Ties keep the order of the rows. Rows of no query get meaningless positions.

    Example:

    >>> rows = ranking_rows([0.0, 0.0, 0.0], [0.3, 0.7, 0.5], query_ids=[7, 7, 8])
    >>> ranks(rows.y_pred, rows).numpy().tolist()
    [1, 0, 0]
    """
    count = tf.shape(key)[0]
    by_key = tf.argsort(key, direction="DESCENDING", stable=True)
    order = tf.gather(by_key, tf.argsort(tf.gather(rows.query, by_key), stable=True))
    place = tf.scatter_nd(order[:, None], tf.range(count), tf.shape(key))
    first = tf.math.unsorted_segment_min(place, rows.query, rows.num_queries)
    return place - tf.gather(first, tf.maximum(rows.query, 0))


def widen(value: tf.Tensor) -> tf.Tensor:
    """Floats narrower than float32, and integers, as float32; float64 as it is."""
    if value.dtype in (tf.float32, tf.float64):
        return value
    return tf.cast(value, tf.float32)


def checked_weights(weight: tf.Tensor, name: str = "sample_weight") -> tf.Tensor:
    """Weights, refused where they are negative or not numbers."""
    rule = f"`{name}` must be numbers that are not negative"
    way_out = "To leave a row out, give it a weight of 0."
    return refuse(weight, ~(weight >= 0), "weight", rule, way_out)


def checked_labels(rows: RankingRows, *, gains: bool) -> tf.Tensor:
    """The labels, 0 where masked, refused where they are NaN, or negative gains."""
    labels = tf.where(rows.query >= 0, rows.y_true, tf.zeros_like(rows.y_true))
    unknown = tf.math.is_nan(labels)
    if gains:
        rule = "`y_true` must not be negative or NaN in a row that counts: labels are gains here"
        way_out = "Mark padding with `mask`, not with a label of -1."
        return refuse(labels, unknown | (labels < 0), "label", rule, way_out)
    rule = "`y_true` must hold numbers in every row that is not masked"
    return refuse(labels, unknown, "label", rule, "Leave unlabelled rows out with `mask`.")


def _ids(query_ids: Any) -> tf.Tensor:
    ids = tf.convert_to_tensor(query_ids)
    if ids.dtype == tf.string:
        if compat.in_xla():
            raise ValueError(
                "`query_ids` must be integers under XLA, which has no strings. Received: "
                "string ids with `jit_compile=True`. Turn the ids into integers before "
                "`fit`, or compile with `jit_compile=False`."
            )
        # 2**63 buckets: two of n ids are taken for one with probability n**2 / 2**64.
        return tf.strings.to_hash_bucket_fast(ids, 2**63 - 1)
    if not ids.dtype.is_integer:
        raise TypeError(
            "`query_ids` must be integers or strings: floats cannot hold ids exactly. "
            f"Received: dtype {ids.dtype.name}. Pass the ids as int64."
        )
    return tf.cast(ids, tf.int64)


def _rows(value: tf.Tensor, name: str, fits: str) -> tf.Tensor:
    shape = value.shape
    if fits == "rows" and shape.rank != 1 and not (shape.rank == 2 and shape[1] == 1):
        raise ValueError(
            f"`{name}` must have one entry a row, shape (rows,) or (rows, 1), beside "
            f"`query_ids`. Received: shape {tuple(shape)}. "
            "For padded lists leave `query_ids` out and pass `mask`."
        )
    return tf.reshape(value, (-1,))


def _require_lists(y_true: tf.Tensor, y_pred: tf.Tensor) -> None:
    for name, value in (("y_true", y_true), ("y_pred", y_pred)):
        if value.shape.rank != 2:
            raise ValueError(
                f"`{name}` must be padded lists, shape (queries, list_size), when there "
                f"are no `query_ids`. Received: shape {tuple(value.shape)}. "
                "For flat rows pass `query_ids`, one id a row."
            )
    if not y_true.shape.is_compatible_with(y_pred.shape):
        raise ValueError(
            "`y_true` and `y_pred` must have the same shape. "
            f"Received: {tuple(y_true.shape)} and {tuple(y_pred.shape)}."
        )


def _like_labels(value: tf.Tensor, labels: tf.TensorShape, name: str, fits: str) -> tf.Tensor:
    if fits == "lists" and not (value.shape.rank == 2 and value.shape.is_compatible_with(labels)):
        raise ValueError(
            f"`{name}` must have the shape of the lists, {tuple(labels)}, one entry an "
            f"item. Received: shape {tuple(value.shape)}."
        )
    return value


def _of_one_length(flat: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """`flat`, refused when its lengths differ: at once if they are known, else when run."""
    lengths = {name: value.shape[0] for name, value in flat.items()}
    known = {length for length in lengths.values() if length is not None}
    rule = "Labels, scores, ids, mask and weights must have one entry a row each."
    if len(known) > 1:
        listed = ", ".join(f"`{name}` {length}" for name, length in lengths.items())
        raise ValueError(f"{rule} Received rows: {listed}.")
    if None not in lengths.values() or compat.in_xla():
        return flat
    sizes = tf.stack([tf.size(value) for value in flat.values()])
    check = tf.debugging.Assert(
        tf.reduce_all(sizes == sizes[0]),
        [f"{FAILED}{rule} Received: other numbers of rows for {', '.join(flat)}."],
    )
    with tf.control_dependencies([check]):
        return {name: tf.identity(value) for name, value in flat.items()}
