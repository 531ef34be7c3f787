"""Rows grouped by query: the checked, flat form of what ranking losses and metrics take."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import tensorflow as tf

from keras_trainsteps import compat, replicas
from keras_trainsteps.queries.labels import exact_labels, without_padding
from keras_trainsteps.queries.order import places, query_order
from keras_trainsteps.queries.shapes import as_rows, like_labels, of_one_length, require_lists
from keras_trainsteps.queries.weights import checked_weights, widen
from keras_trainsteps.step import running
from keras_trainsteps.validation import as_float, as_mask, as_tensor


class RankingRows(NamedTuple):
    """The rows of a batch, flat, each with the dense index of its query.

    Under several replicas these are the rows of all of them. Each query belongs to the
    replica that holds its first row (`owned`), so that sums over the replicas count
    each query once.

    Attributes:
        y_true: Labels, shape `(rows,)`, float64: float32 takes different times for equal.
        y_pred: Scores, shape `(rows,)`, float32 or float64.
        query: Dense query index, int32, shape `(rows,)`; -1 for a masked row.
        num_queries: An int32 scalar above every index. It is the number of queries, or,
            where shapes must be static (XLA), the number of padded lists or of rows.
        weight: Weight of each row, float64, shape `(rows,)`, or `None`.
        owned: For each query index whether it belongs to this replica, bool, shape
            `(num_queries,)`, or `None` where there is one replica.
        ids: The id of each query index, int64, shape `(num_queries,)`; hashes of ids that are
            text. `None` for padded lists.
        masked: Whether there may be indices without a row.
        row_weight: Weight of each row within its query, for metrics that take one besides
            `weight`; float64, shape `(rows,)`, or `None`.

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
    masked: bool = True
    row_weight: tf.Tensor | None = None


def ranking_rows(
    y_true: Any,
    y_pred: Any,
    *,
    query_ids: Any = None,
    mask: Any = None,
    sample_weight: Any = None,
    grades: bool = True,
) -> RankingRows:
    """Checks and flattens a batch of ranking rows.

    Args:
        y_true: Labels, shape `(rows,)` or `(rows, 1)`; or padded lists `(queries, list)`
            when there are no `query_ids`.
        y_pred: Scores, of the same number of entries. Scores narrower than float32 are
            widened to float32.
        query_ids: Integer or string ids, shape `(rows,)` or `(rows, 1)`, in any order,
            of any values. `None` for padded lists: each list is one query.
        mask: Bool, or 0 and 1, of the shape of the labels; `False` rows belong to no query.
        sample_weight: One weight a row, of the shape of the labels; not negative.
        grades: Whether labels are compared with each other. Then negative ones are refused
            in padded lists without a mask, where -1 is a common mark of padding.

    Raises:
        TypeError: For ids that are neither integers nor strings, and for what is no dense
            array of real numbers.
        ValueError: For shapes that do not fit each other, and, but for XLA, for weights
            that are negative or not numbers, masks of other numbers than 0 and 1, integer
            labels beyond 2**53, and negative labels in padded lists without a mask.
    """
    given = y_true, y_pred, query_ids, mask, sample_weight, grades
    rows: RankingRows = running.shared(lambda: _ranking_rows(*given), "rows", *given)
    if rows.ids is not None:
        masked = mask is not None or running.is_padded()
        grouped = running.QueryRows(rows.ids, rows.query, rows.num_queries, rows.y_true, masked)
        running.note_queries(query_ids, mask, grouped)
    return rows


def _ranking_rows(
    y_true: Any, y_pred: Any, query_ids: Any, mask: Any, sample_weight: Any, grades: bool
) -> RankingRows:
    ids_given = query_ids
    y_pred = widen(as_tensor("y_pred", y_pred))
    y_true = as_tensor("y_true", y_true, wide=True)
    if query_ids is None:
        require_lists(y_true, y_pred)
        lists, length = tf.unstack(tf.shape(y_pred))
        # A quotient of row numbers would take longer than all else of a loss.
        query_ids = tf.reshape(tf.broadcast_to(tf.range(lists)[:, None], (lists, length)), (-1,))
        fits = "lists"
    else:
        query_ids = _ids(query_ids)
        fits = "rows"
    shape = y_true.shape
    flat = {"y_true": y_true, "y_pred": y_pred, "query_ids": query_ids}
    if mask is not None:
        flat["mask"] = like_labels(as_mask("mask", mask), shape, "mask", fits)
    if sample_weight is not None:
        weight = as_float("sample_weight", sample_weight, tf.float64)
        weight = like_labels(weight, shape, "sample_weight", fits)
        flat["sample_weight"] = checked_weights(weight)
    counted = running.counted_rows(shape, masked=mask is not None)
    if counted is not None:
        flat["mask"] = counted if mask is None else counted & flat["mask"]
    flat = {name: as_rows(value, name, fits) for name, value in flat.items()}
    flat = of_one_length(flat)
    flat["y_true"] = exact_labels(flat["y_true"], flat.get("mask"))
    if grades and fits == "lists" and mask is None:
        flat["y_true"] = without_padding(flat["y_true"])

    own_rows = tf.shape(flat["y_pred"])[0]
    first = replicas.first_own_row(own_rows)
    if fits == "lists" and replicas.num_replicas() > 1:
        flat["query_ids"] = flat["query_ids"] + first  # lists of two replicas stay apart
    flat = {name: replicas.gather_rows(value) for name, value in flat.items()}
    dense = functools.partial(dense_queries, flat["query_ids"])
    if fits == "rows":  # losses and metrics of one batch read the same ids
        query, num_queries, ids = running.shared(dense, "queries", ids_given)
    elif replicas.num_replicas() > 1:
        query, num_queries, ids = dense()
    else:
        query, num_queries, ids = flat["query_ids"], lists, None
    owned = None
    if replicas.num_replicas() > 1:
        rows = tf.range(tf.shape(query)[0])
        first_row = tf.math.unsorted_segment_min(rows, query, num_queries)
        owned = (first_row >= first) & (first_row < first + own_rows)
    if "mask" in flat:
        query = tf.where(flat["mask"], query, -1)
    weight = flat.get("sample_weight")
    ids = None if fits == "lists" else ids
    maybe_empty = fits == "lists" and not shape[1]
    masked = "mask" in flat or maybe_empty or compat.in_xla()
    return RankingRows(
        flat["y_true"], flat["y_pred"], query, num_queries, weight, owned, ids, masked
    )


def dense_queries(query_ids: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Integer ids as indices `0 .. n - 1`, a number above every index, and the id of each."""
    if not compat.in_xla():
        ids, query = tf.unique(query_ids)
        return query, tf.size(ids), ids
    rows = tf.shape(query_ids)[0]
    # A sort costs more than all else, and ids mostly come in order.
    order = tf.cond(
        tf.reduce_all(query_ids[1:] >= query_ids[:-1]),
        lambda: tf.range(rows),
        lambda: tf.argsort(query_ids, stable=True),
    )
    ordered = tf.gather(query_ids, order)
    new = tf.cast(ordered[1:] != ordered[:-1], tf.int32)
    index = tf.concat([tf.zeros_like(order[:1]), tf.cumsum(new)], axis=0)
    query = tf.scatter_nd(order[:, None], index, tf.shape(index))
    return query, rows, tf.math.unsorted_segment_max(query_ids, query, rows)


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
    place = places(query_order(rows.query, key))
    first = tf.math.unsorted_segment_min(place, rows.query, rows.num_queries)
    return place - tf.gather(first, tf.maximum(rows.query, 0))


def _ids(query_ids: Any) -> tf.Tensor:
    ids = as_tensor("query_ids", query_ids, of="integers or strings", text=True)
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
