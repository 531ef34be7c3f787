"""Runs of rows side by side, as lists of one length."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from keras_trainsteps.pairs.reduce import count_by_group


class DenseLists(NamedTuple):
    """Where each row of adjacent runs lies in lists that are filled up to the longest.

    Attributes:
        cell: Place of each row in the lists one after the other, int32, shape `(rows,)`.
        sizes: Rows of each run, int32, shape `(runs,)`.
        longest: Rows of the longest run, an int32 scalar.
    """

    cell: tf.Tensor
    sizes: tf.Tensor
    longest: tf.Tensor

    @property
    def filled(self) -> tf.Tensor:
        """Which places hold a row, bool, shape `(runs, longest)`."""
        return tf.range(self.longest) < self.sizes[:, None]

    def spread(self, values: tf.Tensor) -> tf.Tensor:
        """The values of the rows, shape `(runs, longest)`; 0 where no row is."""
        runs = tf.size(self.sizes)
        lists = tf.math.unsorted_segment_sum(values, self.cell, runs * self.longest)
        return tf.reshape(lists, (runs, self.longest))

    def collect(self, lists: tf.Tensor) -> tf.Tensor:
        """The value of each row."""
        return tf.gather(tf.reshape(lists, (-1,)), self.cell)

    def cells(self, power: int) -> tf.Tensor:
        """How many numbers lists take, or, for a power of 2, their pairs; float64."""
        longest = tf.cast(self.longest, tf.float64)
        return tf.cast(tf.size(self.sizes), tf.float64) * longest**power


def dense_lists(segment: tf.Tensor, segments: tf.Tensor | None = None) -> DenseLists:
    """The lists of the rows of each segment, which are adjacent; memory is that of the rows.

    Args:
        segment: Integer tensor, shape `(rows,)`.
        segments: The number of segments, where they are `0 .. segments - 1` in this order.
    """
    rows = tf.size(segment)
    run, runs = segment, segments
    if runs is None:
        new = tf.cast(segment[1:] != segment[:-1], tf.int32)
        run = tf.concat([tf.zeros_like(segment[:1], tf.int32), tf.cumsum(new)], 0)
        runs = tf.reduce_sum(new) + tf.minimum(rows, 1)
    sizes = count_by_group(run, runs)
    longest = tf.maximum(tf.reduce_max(sizes), 0)
    column = tf.range(rows) - tf.gather(tf.cumsum(sizes, exclusive=True), run)
    return DenseLists(run * longest + column, sizes, longest)
