"""Rows sorted by query, and where each query begins."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from .reduce import count_by_group


class Groups(NamedTuple):
    """Groups of rows, each a run of `order`.

    Attributes:
        order: Row numbers, group by group, int32.
        starts: Where in `order` each group begins, int32, `(groups,)`.
        sizes: How many rows each group has, int32, `(groups,)`.
    """

    order: tf.Tensor
    starts: tf.Tensor
    sizes: tf.Tensor

    def take(self, groups: tf.Tensor) -> Groups:
        """Some of the groups, by index or by bool mask."""
        if groups.dtype == tf.bool:
            groups = tf.cast(tf.where(groups)[:, 0], tf.int32)
        return Groups(self.order, tf.gather(self.starts, groups), tf.gather(self.sizes, groups))


def group_rows(query: tf.Tensor, num_queries: tf.Tensor) -> Groups:
    """Groups rows by query index; rows of index -1 are in no group."""
    rows = tf.shape(query)[0]
    # Rows that come query by query are sorted already; a sort costs more than all else.
    is_sorted = tf.reduce_all(query[1:] >= query[:-1])
    order = tf.cond(
        is_sorted,
        lambda: tf.range(rows),
        lambda: tf.cast(tf.argsort(query, stable=True), tf.int32),
    )
    # Masked rows, index -1, are sorted to the front.
    sizes = count_by_group(query, num_queries)
    masked = rows - tf.reduce_sum(sizes)
    return Groups(order, masked + tf.cumsum(sizes, exclusive=True), sizes)
