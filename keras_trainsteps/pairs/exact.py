"""Exact pair sums: groups of similar size side by side, in tiles of bounded memory.

Groups are taken from the largest to the smallest. Those at least `_SIMILAR` times as
long as the largest one left are padded to its length and form one tile
`(groups, length, length)`, as many as `_TILE_PAIRS` allows; a group too long for that is
cut into blocks of rows, each against the whole group. So work follows the sum of squared
group sizes, and no tensor is larger than a tile or a row times its group. Where all that
is left is small, one tile takes it all: for tiny batches the number of TensorFlow ops is
what costs.
"""

from __future__ import annotations

import tensorflow as tf

from .groups import Groups
from .rules import PairRows, PairRule
from .tile import tile_sums

_TILE_PAIRS = 2**17  # 1 MB a float64 tensor: a tile stays in the cache of a core
_SMALL_PAIRS = 2**15  # what is cheaper to compute padded than to split
_SIMILAR = 0.7


def exact_sums(
    rule: PairRule, rows: PairRows, groups: Groups
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Terms, counts and gradient of each row over the pairs of its group.

    Returns:
        Three float64 tensors of shape `(rows,)`: what the pairs that a row comes first
        in sum up to, what they weigh, and the derivative of the sum of all terms with
        respect to the row's score. 0 for rows of no group.
    """
    packed, order = _padded(rows, groups.order)
    padding = tf.shape(packed)[0] - 1
    groups = groups.take(tf.argsort(groups.sizes, direction="DESCENDING"))
    with_pairs = tf.reduce_sum(tf.cast(groups.sizes > 1, tf.int32))

    def unfinished(group: tf.Tensor, *_: tf.Tensor) -> tf.Tensor:
        return group < with_pairs

    def add_tile(
        group: tf.Tensor, row: tf.Tensor, sums: tf.Tensor, gradient: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        length = groups.sizes[group]
        taken = _groups_of_tile(groups.sizes[group:with_pairs])
        height = tf.minimum(tf.maximum(_TILE_PAIRS // length, 1), length - row)
        starts = groups.starts[group : group + taken, None]
        sizes = groups.sizes[group : group + taken, None]

        column = tf.range(length)
        position = tf.where(column < sizes, starts + column, padding)
        index_j = tf.gather(order, position)
        index_i = index_j[:, row : row + height]
        tile_j = tf.gather(packed, index_j)
        tile_i = tile_j[:, row : row + height]
        allowed = None
        if rule.ties:
            allowed = column[row : row + height, None] != column
        tile = tile_sums(rule, rows.unpack(tile_i), rows.unpack(tile_j), allowed)

        added = tf.stack([tile.terms_i, tile.counts_i, tile.gradient_i], axis=-1)
        sums = tf.tensor_scatter_nd_add(sums, index_i[..., None], added)
        gradient = tf.tensor_scatter_nd_add(gradient, index_j[..., None], tile.gradient_j)
        row += height
        done = row >= length
        group = tf.where(done, group + taken, group)
        return group, tf.where(done, 0, row), sums, gradient

    sums = tf.zeros((padding + 1, 3), tf.float64)
    gradient = tf.zeros((padding + 1,), tf.float64)
    start = (tf.constant(0), tf.constant(0), sums, gradient)
    _, _, sums, gradient = tf.while_loop(unfinished, add_tile, start)
    sums, gradient = sums[:-1], gradient[:-1]
    return sums[:, 0], sums[:, 1], sums[:, 2] + gradient


def _groups_of_tile(sizes: tf.Tensor) -> tf.Tensor:
    """How many of the groups left, largest first, one tile takes."""
    left = tf.size(sizes)
    length = sizes[0]
    fitting = _TILE_PAIRS // length // length
    similar = tf.cast(tf.cast(length, tf.float32) * _SIMILAR, tf.int32)
    alike = tf.reduce_sum(tf.cast(sizes >= similar, tf.int32))
    wanted = tf.where(left <= _SMALL_PAIRS // length // length, left, alike)
    return tf.maximum(tf.minimum(wanted, fitting), 1)


def _padded(rows: PairRows, order: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The packed rows with one row of padding at the end, and the order with it."""
    packed = rows.pack()
    number, width = tf.shape(packed)[0], packed.shape[1]
    blank = tf.constant([[float("nan")] + [0.0] * (width - 1)], tf.float64)
    return tf.concat([packed, blank], 0), tf.concat([order, [number]], 0)
