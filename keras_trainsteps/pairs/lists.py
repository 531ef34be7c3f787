"""Batches that are lists of one length, one after the other: a tile as they are.

Rows of no query may be among them, as in lists that are padded.

Most small batches are. Nothing is sorted, gathered or padded then, and of the general way
TensorFlow loads nothing until a batch takes it: with a batch this small, the number of
operations is what costs.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from keras_trainsteps import compat

from .exact import Sums
from .rules import PairRows, PairRule
from .tile import are_near, tile_sums

_MOST_PAIRS = 2**18  # 2 MB a float64 tensor


def where_lists(
    rule: PairRule,
    rows: PairRows,
    query: tf.Tensor,
    sizes: tf.Tensor,
    list_size: tf.Tensor | int | None,
    longest: int | None,
    otherwise: Callable[[], Sums],
) -> Sums:
    """The sums over the pairs of each query: at once where queries are lists, or `otherwise`.

    Args:
        rule: What is summed.
        rows: The rows.
        query: Query of each row, int32 `(rows,)`; -1 for none.
        sizes: How many rows each query has.
        list_size: How many each list has, rows of no query included; 0 or `None` where that is
            not known.
        longest: Lists of more rows are left to `otherwise`; `None` for no such limit.
        otherwise: The general way.
    """
    length = tf.maximum(tf.reduce_max(sizes), 1)  # there may be no query
    if list_size is not None:
        length = tf.where(list_size > 0, list_size, length)
    number = tf.size(query)
    missing = query < 0
    lists = tf.reduce_all(tf.equal(query, tf.range(number) // length) | missing)
    lists &= tf.equal(number, tf.size(sizes) * length)
    most = _MOST_PAIRS // tf.maximum(number, 1)
    lists &= length <= (most if longest is None else tf.minimum(most, longest))
    totals, counts, slope = tf.cond(
        lists, lambda: _of_lists(rule, rows, missing, length), compat.loaded_when_run(otherwise)
    )
    return totals, counts, slope


def _of_lists(rule: PairRule, rows: PairRows, missing: tf.Tensor, length: tf.Tensor) -> Sums:
    shape = tf.stack([-1, length])
    nan = tf.constant(float("nan"), rows.label.dtype)  # a label that is in no pair
    rows = rows._replace(label=tf.where(missing, nan, rows.label))
    side_by_side = PairRows(
        tf.reshape(rows.label, shape),
        tf.reshape(rows.score, shape),
        None if rows.weight is None else tf.reshape(rows.weight, shape),
        {name: tf.reshape(values, shape) for name, values in rows.fields.items()},
    )
    column = tf.range(length)
    allowed = column[:, None] != column if rule.ties else None
    sums = tile_sums(rule, side_by_side, side_by_side, allowed, are_near(rule, rows.score))
    slope = tf.reshape(sums.gradient_i + sums.gradient_j, (-1,))
    return tf.reduce_sum(sums.terms_i, 1), tf.reduce_sum(sums.counts_i, 1), slope
