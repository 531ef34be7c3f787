"""Exact pair sums: groups of similar size side by side, in tiles of bounded memory.

Groups are taken from the largest to the smallest. Those at least `_SIMILAR` times as
long as the largest one left are padded to its length and form one tile
`(groups, length, length)`, as many as `_TILE_PAIRS` allows; a group too long for that is
cut into blocks of rows, each against the whole group. So work follows the sum of squared
group sizes, and no tensor is larger than a tile or a row times its group.

A batch that is small even when padded to its longest group is one tile, without any of
that: there the number of TensorFlow ops is what costs.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from .groups import Groups
from .rules import PairRows, PairRule
from .tile import TileSums, tile_sums

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
    longest = tf.maximum(tf.reduce_max(groups.sizes), 0)  # there may be no group
    padded_pairs = tf.cast(tf.size(groups.sizes), tf.float32) * tf.cast(longest, tf.float32) ** 2
    tiles = _Tiles(rule, rows, packed, order)
    sums = tf.cond(
        padded_pairs <= _SMALL_PAIRS,
        lambda: tiles.one(groups, longest),
        lambda: tiles.by_size(groups.by_size()),
    )
    terms, counts, slope = tf.unstack(sums[:-1], axis=1)
    return terms, counts, slope


class _Tiles(NamedTuple):
    """Tiles of padded groups.

    Attributes:
        rule: What is summed.
        rows: The rows.
        packed: The packed rows, with a row of padding at the end.
        order: Row numbers, group by group, with that of the padding at the end.
    """

    rule: PairRule
    rows: PairRows
    packed: tf.Tensor
    order: tf.Tensor

    def one(self, groups: Groups, length: tf.Tensor) -> tf.Tensor:
        """Terms, counts and slope of each packed row, all groups in one tile."""
        index, _, tile = self._sums(groups, length)
        sums = tf.stack([tile.terms_i, tile.counts_i, tile.gradient_i + tile.gradient_j], axis=-1)
        return tf.scatter_nd(index[..., None], sums, (tf.shape(self.packed)[0], 3))

    def by_size(self, groups: Groups) -> tf.Tensor:
        """Terms, counts and slope of each packed row, groups being sorted by size."""
        with_pairs = tf.reduce_sum(tf.cast(groups.sizes > 1, tf.int32))

        def unfinished(group: tf.Tensor, *_: tf.Tensor) -> tf.Tensor:
            return group < with_pairs

        def add_tile(
            group: tf.Tensor, row: tf.Tensor, sums: tf.Tensor
        ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            length = groups.sizes[group]
            end = group + _groups_of_tile(groups.sizes[group:with_pairs])
            taken = groups._replace(
                starts=groups.starts[group:end], sizes=groups.sizes[group:end]
            )
            height = tf.minimum(tf.maximum(_TILE_PAIRS // length, 1), length - row)
            index_j, index_i, tile = self._sums(taken, length, row, height)
            of_i = tf.stack([tile.terms_i, tile.counts_i, tile.gradient_i], axis=-1)
            nothing = tf.zeros_like(tile.gradient_j)
            of_j = tf.stack([nothing, nothing, tile.gradient_j], axis=-1)
            sums = tf.tensor_scatter_nd_add(sums, index_i[..., None], of_i)
            sums = tf.tensor_scatter_nd_add(sums, index_j[..., None], of_j)
            row += height
            done = row >= length
            return tf.where(done, end, group), tf.where(done, 0, row), sums

        sums = tf.zeros((tf.shape(self.packed)[0], 3), tf.float64)
        return tf.while_loop(unfinished, add_tile, (tf.constant(0), tf.constant(0), sums))[-1]

    def _sums(
        self,
        groups: Groups,
        length: tf.Tensor,
        row: tf.Tensor | None = None,
        height: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor, TileSums]:
        """Row numbers of a tile's columns and rows, and its sums: `height` rows from `row`."""
        column = tf.range(length)
        starts, sizes = groups.starts[:, None], groups.sizes[:, None]
        padding = tf.size(self.order) - 1
        position = tf.where(column < sizes, starts + column, padding)
        index_j = tf.gather(self.order, position)
        j = tf.gather(self.packed, index_j)
        index_i, i, first = index_j, j, column
        if row is not None:
            index_i, i, first = (
                index_j[:, row : row + height],
                j[:, row : row + height],
                column[row : row + height],
            )
        allowed = first[:, None] != column if self.rule.ties else None
        return (
            index_j,
            index_i,
            tile_sums(self.rule, self.rows.unpack(i), self.rows.unpack(j), allowed),
        )


def _groups_of_tile(sizes: tf.Tensor) -> tf.Tensor:
    """How many of the groups left, largest first, one tile takes."""
    length = sizes[0]
    similar = tf.cast(tf.cast(length, tf.float32) * _SIMILAR, tf.int32)
    alike = tf.reduce_sum(tf.cast(sizes >= similar, tf.int32))
    return tf.maximum(tf.minimum(alike, _TILE_PAIRS // length // length), 1)


def _padded(rows: PairRows, order: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The packed rows with one row of padding at the end, and the order with it."""
    packed = rows.pack()
    number, width = tf.shape(packed)[0], packed.shape[1]
    blank = tf.constant([[float("nan")] + [0.0] * (width - 1)], tf.float64)
    return tf.concat([packed, blank], 0), tf.concat([order, [number]], 0)
