"""Each anchor's positives in order of distance, and what lies between them.

An anchor has few positives beside its negatives: to sort the positives alone and to look up
each negative among them costs a tenth of sorting all rows.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from keras_trainsteps import compat
from keras_trainsteps.pairs.reduce import count_by_group


class Positives(NamedTuple):
    """The positives of each anchor, nearest first, shape `(rows, most)`.

    Attributes:
        distances: Their distances, differentiable; infinity past the last one.
        exists: Whether there is one, bool.
    """

    distances: tf.Tensor
    exists: tf.Tensor


def in_order(distances: tf.Tensor, positives: tf.Tensor) -> Positives:
    """The positives of each anchor by distance.

    Args:
        distances: Of all pairs, shape `(rows, rows)`.
        positives: Which pairs are positive, bool, of that shape.
    """
    number = tf.reduce_sum(tf.cast(positives, tf.int32), 1, keepdims=True)
    rows = tf.shape(distances)[1]
    # XLA must know how many are taken.
    most = rows if compat.in_xla() else tf.reduce_max(tf.pad(number, [[0, 1], [0, 0]]))
    infinity = tf.constant(float("inf"), distances.dtype)
    near = tf.where(positives, -tf.stop_gradient(distances), -infinity)
    _, columns = tf.math.top_k(near, most)
    exists = tf.range(most) < number
    found = tf.gather(distances, columns, batch_dims=1)
    return Positives(tf.where(exists, found, infinity), exists)


def count_beyond(
    reach: tf.Tensor, distances: tf.Tensor, negatives: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """How many negatives are nearer than each reach, and how many reaches each is nearer than.

    Args:
        reach: Ascending, shape `(rows, most)`; infinity for what is none.
        distances: Of all pairs, shape `(rows, rows)`.
        negatives: Which pairs are negative, bool, of that shape.

    Returns:
        Two int32 tensors, of the shapes of `reach` and of `distances`.
    """
    most = tf.shape(reach)[1]
    below = search(reach, distances, "right")  # how many reaches do not reach as far
    found = tf.cumsum(_by_gap(below, negatives, most, None), axis=1)[:, :most]
    real = tf.reduce_sum(tf.cast(reach < float("inf"), tf.int32), 1, keepdims=True)
    return found, tf.where(negatives, tf.maximum(real - below, 0), 0)


def nearest_beyond(distances: tf.Tensor, positives: Positives, negatives: tf.Tensor) -> tf.Tensor:
    """The nearest negative that is farther than each positive, or else the farthest of all.

    Returns:
        Its column, int32, shape `(rows, most)`.
    """
    near, most = tf.stop_gradient(positives.distances), tf.shape(positives.distances)[1]
    nearer = search(near, distances, "left")  # how many positives are nearer
    least = _by_gap(nearer, negatives, most, distances)
    column = tf.broadcast_to(tf.range(tf.shape(distances)[1]), tf.shape(distances))
    is_least = negatives & (distances == tf.gather(least, nearer, batch_dims=1))
    first = _by_gap(nearer, is_least, most, column)
    place, width = tf.range(most + 1), most + 1

    def from_right(step: tf.Tensor, first: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """An empty gap takes what the next ones hold."""
        take = (first == column.dtype.max) & (place < width - step)
        return 2 * step, tf.where(take, tf.roll(first, -step, 1), first)

    _, first = tf.while_loop(lambda step, _: step < width, from_right, (1, first))
    last = tf.reverse(tf.where(negatives, distances, -float("inf")), [1])
    last = tf.pad(last, [[0, 0], [0, 1]], constant_values=-float("inf"))
    farthest = tf.shape(distances)[1] - 1 - tf.argmax(last, 1, tf.int32)
    chosen = first[:, 1:]
    some = chosen < column.dtype.max
    return tf.maximum(tf.where(some, chosen, farthest[:, None]), 0)


def search(ordered: tf.Tensor, values: tf.Tensor, side: str) -> tf.Tensor:
    """`tf.searchsorted` by row, which fails where there is nothing to search for or in."""
    ordered = tf.pad(ordered, [[0, 0], [0, 1]], constant_values=float("inf"))
    padded = tf.pad(tf.stop_gradient(values), [[0, 0], [0, 1]])
    found = tf.searchsorted(tf.stop_gradient(ordered), padded, side=side)[:, :-1]
    return tf.minimum(found, tf.shape(ordered)[1] - 1)


def _by_gap(
    gap: tf.Tensor, among: tf.Tensor, most: tf.Tensor, values: tf.Tensor | None
) -> tf.Tensor:
    """The least value, or without any the number, of the pairs in each gap of each anchor."""
    rows = tf.shape(gap)[0]
    index = tf.where(among, tf.range(rows)[:, None] * (most + 1) + gap, -1)
    index, number = tf.reshape(index, (-1,)), rows * (most + 1)
    if values is None:
        found = count_by_group(index, number)
    else:
        flat = tf.reshape(tf.stop_gradient(values), (-1,))
        found = tf.math.unsorted_segment_min(flat, index, number)
    return tf.reshape(found, (rows, most + 1))
