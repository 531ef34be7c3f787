"""Rows sorted by query, and where each query begins."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from .reduce import count_by_group, take


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

    def by_size(self) -> Groups:
        """The groups from the largest to the smallest."""
        index = tf.argsort(self.sizes, direction="DESCENDING")
        return Groups(self.order, tf.gather(self.starts, index), tf.gather(self.sizes, index))


def group_rows(query: tf.Tensor, num_queries: tf.Tensor) -> Groups:
    """Groups rows by query index; rows of index -1 are in no group."""
    order = tf.where(query >= 0)
    grouped = tf.gather_nd(query, order)
    order = tf.cast(order[:, 0], tf.int32)
    # Rows that come query by query are sorted already; a sort costs more than all else.
    order = tf.cond(
        tf.reduce_all(grouped[1:] >= grouped[:-1]),
        lambda: order,
        lambda: take(order, tf.argsort(grouped, stable=True)),
    )
    sizes = count_by_group(query, num_queries)
    return Groups(order, tf.cumsum(sizes, exclusive=True), sizes)
