"""Rows sorted by query, and where each query begins."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from .reduce import take


class Groups(NamedTuple):
    """Groups of rows, each a run of `order`.

    Attributes:
        order: Numbers of the rows that have a group, group by group, int32.
        starts: Where in `order` each group begins, int32, `(groups,)`.
        sizes: How many rows each group has, int32, `(groups,)`.
    """

    order: tf.Tensor
    starts: tf.Tensor
    sizes: tf.Tensor


def group_rows(query: tf.Tensor, sizes: tf.Tensor) -> Groups:
    """Groups rows by query index.

    Args:
        query: Query of each row, int32 `(rows,)`; -1 for none.
        sizes: How many rows each query has, as `count_by_group` gives it.
    """
    order = tf.where(query >= 0)
    grouped = tf.gather_nd(query, order)
    order = tf.cast(order[:, 0], tf.int32)
    # Rows that come query by query are sorted already; a sort costs more than all else.
    order = tf.cond(
        tf.reduce_all(grouped[1:] >= grouped[:-1]),
        lambda: order,
        lambda: take(order, tf.argsort(grouped, stable=True)),
    )
    return Groups(order, tf.cumsum(sizes, exclusive=True), sizes)
