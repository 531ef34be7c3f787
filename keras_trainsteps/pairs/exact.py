"""The exact method, pair by pair: groups of similar size side by side, in bounded memory.

Groups are taken from the largest to the smallest. Those at least `_SIMILAR` times as
long as the largest one left are padded to its length and form one tile
`(groups, length, length)`, as many as `_TILE_PAIRS` allows; a group too long for that is
cut into blocks of rows, each against the whole group. So work follows the sum of squared
group sizes, and no tensor is larger than a tile or a few rows times their group.

A batch that is small even when padded to its longest group is one tile, without any of
that: there the number of TensorFlow ops is what costs.
"""

from __future__ import annotations

import tensorflow as tf

from .groups import Groups
from .rules import PairRows, PairRule
from .tile import are_near, tile_sums

_TILE_PAIRS = 2**15  # 256 KB a float64 tensor: a tile stays in the cache of a core
_TILE_ROWS = 16  # at least: what a tile does for the columns must pay
_SMALL_PAIRS = 2**15  # what is cheaper to compute padded than to split
_EVEN_PAIRS = 2**18  # likewise, where padding at most doubles it
_SIMILAR = 0.7


Sums = tuple[tf.Tensor, tf.Tensor, tf.Tensor]
"""Total and count of each group, `(groups,)`, and the slope of each row, `(rows,)`: the
derivative of the sum of all totals with respect to the row's score, 0 for rows of no
group. All float64."""


def exact_sums(rule: PairRule, rows: PairRows, groups: Groups) -> Sums:
    """The sums over the pairs of each group."""
    sizes = tf.cast(groups.sizes, tf.float32)
    longest = tf.maximum(tf.reduce_max(sizes), 0.0)  # maybe no group
    padded = tf.cast(tf.size(sizes), tf.float32) * longest * longest
    even = tf.minimum(2.0 * tf.reduce_sum(sizes * sizes), _EVEN_PAIRS)
    totals, counts, slope = tf.cond(
        padded <= tf.maximum(even, _SMALL_PAIRS),
        lambda: _in_one_tile(rule, rows, groups),
        lambda: _by_size(rule, rows, groups),
    )
    return totals, counts, slope


def _in_one_tile(rule: PairRule, rows: PairRows, groups: Groups) -> Sums:
    """All groups side by side."""
    length = tf.maximum(tf.reduce_max(groups.sizes), 0)
    column = tf.range(length)
    filled = column < groups.sizes[:, None]
    packed, order = _padded(rows, groups.order)
    position = tf.where(filled, groups.starts[:, None] + column, tf.size(order) - 1)
    tile = tf.gather(packed, tf.gather(order, position))
    allowed = column[:, None] != column if rule.ties else None
    filling = rows.unpack(tile)
    sums = tile_sums(rule, filling, filling, allowed, are_near(rule, filling.score))
    # What is filled lies in `order`, group by group.
    slope = tf.gather_nd(sums.gradient_i + sums.gradient_j, tf.where(filled))
    slope = tf.scatter_nd(groups.order[:, None], slope, tf.shape(rows.score))
    return tf.reduce_sum(sums.terms_i, 1), tf.reduce_sum(sums.counts_i, 1), slope


def _by_size(rule: PairRule, rows: PairRows, groups: Groups) -> Sums:
    """Tile after tile, from the largest groups to the smallest."""
    packed, order = _padded(rows, groups.order)
    padding = tf.size(order) - 1
    largest_first = tf.argsort(groups.sizes, direction="DESCENDING")
    starts, sizes = (tf.gather(x, largest_first) for x in (groups.starts, groups.sizes))
    with_pairs = tf.reduce_sum(tf.cast(sizes > 1, tf.int32))

    def unfinished(group: tf.Tensor, *_: tf.Tensor) -> tf.Tensor:
        return group < with_pairs

    def add_tile(
        group: tf.Tensor, row: tf.Tensor, by_group: tf.Tensor, slope: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        length = sizes[group]
        end = group + _groups_of_tile(sizes[group:with_pairs])
        height = tf.minimum(tf.maximum(_TILE_PAIRS // length, _TILE_ROWS), length - row)
        column = tf.range(length)
        filled = column < sizes[group:end, None]
        position = tf.where(filled, starts[group:end, None] + column, padding)
        index = tf.gather(order, position)
        tile = tf.gather(packed, index)
        allowed = None
        if rule.ties:
            allowed = column[row : row + height, None] != column
        first, second = rows.unpack(tile[:, row : row + height]), rows.unpack(tile)
        sums = tile_sums(rule, first, second, allowed, are_near(rule, second.score))

        added = tf.stack([tf.reduce_sum(x, 1) for x in (sums.terms_i, sums.counts_i)], axis=1)
        places = largest_first[group:end, None]
        by_group = tf.tensor_scatter_nd_add(by_group, places, added)
        around = [[0, 0], [row, length - row - height]]
        gradient = sums.gradient_j + tf.pad(sums.gradient_i, around)
        slope = tf.tensor_scatter_nd_add(slope, index[..., None], gradient)
        row += height
        done = row >= length
        return tf.where(done, end, group), tf.where(done, 0, row), by_group, slope

    by_group = tf.zeros((tf.size(sizes), 2), tf.float64)
    slope = tf.zeros((tf.size(rows.score) + 1,), tf.float64)
    start = (tf.constant(0), tf.constant(0), by_group, slope)
    _, _, by_group, slope = tf.while_loop(unfinished, add_tile, start)
    return by_group[:, 0], by_group[:, 1], slope[:-1]


def _groups_of_tile(sizes: tf.Tensor) -> tf.Tensor:
    """How many of the groups left, largest first, one tile takes."""
    length = sizes[0]
    similar = tf.cast(tf.cast(length, tf.float32) * _SIMILAR, tf.int32)
    alike = tf.reduce_sum(tf.cast(sizes >= similar, tf.int32))
    return tf.maximum(tf.minimum(alike, _TILE_PAIRS // length // length), 1)


def _padded(rows: PairRows, order: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The packed rows with one row of padding at the end, and the order with it.

    Padding has no label, and a score that is near others.
    """
    packed = rows.pack()
    number, width = tf.shape(packed)[0], packed.shape[1]
    blank = tf.stack([float("nan"), tf.reduce_min(rows.score)] + [0.0] * (width - 2))
    return tf.concat([packed, blank[None]], 0), tf.concat([order, [number]], 0)
