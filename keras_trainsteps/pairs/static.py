"""Pair sums pair by pair with static shapes, for XLA.

Rows are sorted by query. The square of rows against rows is cut into tiles of
`_SIDE * _SIDE` pairs, and only the tiles that touch a query's own square are visited: for
each block of rows the columns from the first row of its first query to the last row of
its last query. The number of visits is dynamic, the shapes are not. So work follows the
sum of squared group sizes plus `_SIDE` pairs a row, and memory is linear in the rows.
"""

from __future__ import annotations

import tensorflow as tf

from .exact import Sums
from .reduce import sum_by_group
from .rules import PairRows, PairRule
from .tile import are_near, tile_sums

_SIDE = 128


def static_sums(rule: PairRule, rows: PairRows, query: tf.Tensor, num_queries: tf.Tensor) -> Sums:
    """The sums over the pairs of each query."""
    # Asked for each tile, it would keep XLA from making one loop of all that a tile takes.
    near = are_near(rule, rows.score)
    if isinstance(near, bool):
        return _in_tiles(rule, rows, query, num_queries, near)
    totals, counts, slope = tf.cond(
        near,
        lambda: _in_tiles(rule, rows, query, num_queries, True),
        lambda: _in_tiles(rule, rows, query, num_queries, False),
    )
    return totals, counts, slope


def _in_tiles(
    rule: PairRule, rows: PairRows, query: tf.Tensor, num_queries: tf.Tensor, near: bool
) -> Sums:
    if near:  # so that what the last block is filled up with is near as well
        rows = rows._replace(score=rows.score - tf.reduce_min(rows.score))
    number = tf.shape(query)[0]
    order = tf.argsort(query, stable=True)
    place = tf.argsort(order)
    blocks = tf.maximum((number + _SIDE - 1) // _SIDE, 1)
    packed = _blocked(tf.gather(rows.pack(), order), blocks, 0.0)
    group = _blocked(tf.gather(query, order), blocks, number)
    first, last = _tile_span(group, number)

    def unfinished(block: tf.Tensor, *_: tf.Tensor) -> tf.Tensor:
        return block < blocks

    def add_tile(
        block: tf.Tensor, column: tf.Tensor, sums: tf.Tensor, gradient: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        group_i, group_j = group[block][:, None], group[column][None, :]
        side = tf.range(_SIDE)
        allowed = (group_i == group_j) & (group_i >= 0) & (group_i < number)
        if rule.ties:
            allowed &= (block != column) | (side[:, None] != side)
        i, j = rows.unpack(packed[block]), rows.unpack(packed[column])
        tile = tile_sums(rule, i, j, allowed, near)
        added = tf.stack([tile.terms_i, tile.counts_i, tile.gradient_i], axis=-1)
        sums = tf.tensor_scatter_nd_add(sums, [[block]], added[None])
        gradient = tf.tensor_scatter_nd_add(gradient, [[column]], tile.gradient_j[None])
        done = column >= last[block]
        block = tf.where(done, block + 1, block)
        # Past the last block the loop ends; the index only has to exist.
        begin = first[tf.minimum(block, blocks - 1)]
        return block, tf.where(done, begin, column + 1), sums, gradient

    sums = tf.zeros((blocks, _SIDE, 3), tf.float64)
    gradient = tf.zeros((blocks, _SIDE), tf.float64)
    start = (tf.constant(0), tf.constant(0), sums, gradient)
    _, _, sums, gradient = tf.while_loop(unfinished, add_tile, start)
    sums = tf.gather(tf.reshape(sums, (-1, 3)), place)
    gradient = tf.gather(tf.reshape(gradient, (-1,)), place)
    totals = sum_by_group(sums[:, 0], query, num_queries)
    counts = sum_by_group(sums[:, 1], query, num_queries)
    return totals, counts, sums[:, 2] + gradient


def _blocked(values: tf.Tensor, blocks: tf.Tensor, fill: tf.Tensor | float) -> tf.Tensor:
    """Rows cut into blocks of `_SIDE`, the last one filled up."""
    missing = blocks * _SIDE - tf.shape(values)[0]
    paddings = [[0, missing]] + [[0, 0]] * (values.shape.rank - 1)
    padded = tf.pad(values, paddings, constant_values=tf.cast(fill, values.dtype))
    return tf.reshape(padded, tf.concat([[blocks, _SIDE], tf.shape(values)[1:]], 0))


def _tile_span(group: tf.Tensor, filler: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """For each block of rows the first and last block that holds rows of its queries."""
    flat = tf.reshape(group, (-1,))
    row = tf.range(tf.size(flat))
    begin = tf.math.unsorted_segment_min(row, flat, filler + 1)
    end = tf.math.unsorted_segment_max(row, flat, filler + 1)
    begin = tf.where(group[:, 0] < 0, 0, tf.gather(begin, tf.maximum(group[:, 0], 0)))
    end = tf.where(group[:, -1] < 0, 0, tf.gather(end, tf.maximum(group[:, -1], 0)))
    return begin // _SIDE, end // _SIDE
