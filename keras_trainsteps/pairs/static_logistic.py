"""The losses of `logistic.py` over pairs of different levels, with static shapes.

The sums are those of `logistic.py`. A group has one segment, which begins with its lowest
score; a group that reaches beyond is reported as failed. Groups are taken `_GROUPS` at a time,
for as many as there are, and of their boxes only the first few where these hold all: so work
follows the batch, while no shape does.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from .boxes import BOXES, PARTS, SEGMENT, in_parts, nodes_by_terms
from .levels import Levels
from .logistic import kernels_of
from .node_kernels import constant_matrices
from .static_tiles import size_of

_GROUPS = 8
_WIDTHS = (8, 16, BOXES)


@dataclass(frozen=True)
class StaticLogisticSums:
    """The sums over the pairs of different levels; see `levels.LevelSums`.

    The last group is one of rows that count for nothing.

    Attributes:
        nodes: Nodes a box.
        terms: Terms of the powers of a row. Both decide the accuracy.
        ties: Whether each pair counts twice and pairs of one label once in each order.
        zero_one: Whether the loss is the soft zero-one loss, which has no ties.
    """

    nodes: int
    terms: int
    ties: bool
    zero_one: bool = False

    def __call__(self, levels: Levels) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """The total of each group, the slope of each row, and which groups failed."""
        groups, number = size_of(levels.weights), levels.weights.shape[1]
        low = tf.math.unsorted_segment_min(levels.score, levels.group, groups)
        high = tf.math.unsorted_segment_max(levels.score, levels.group, groups)
        failed = ~(high - low < SEGMENT)
        counted = (levels.group < groups - 1) & ~tf.gather(failed, levels.group)
        weight = tf.where(counted, levels.row_weights(), 0.0)
        local = tf.where(counted, levels.score - tf.gather(low, levels.group), 0.0)
        part, place = in_parts(local)
        powers = tf.stack([place**power for power in range(self.terms)], axis=1)

        steps = -(-groups // _GROUPS)
        cells = steps * _GROUPS * number * BOXES * PARTS
        index = (levels.group * number + levels.level) * (BOXES * PARTS) + part
        roles = [
            weight
        ]  # of a row: where a pair weighs what its higher row weighs, there are two
        if levels.by_preferred:
            roles.append(tf.where(counted, levels.lower_row_weights(), 0.0))
        values = tf.concat([role[:, None] * powers for role in roles], 1)
        moments = tf.math.unsorted_segment_sum(values, index, cells)
        shape = (steps, _GROUPS * number, BOXES, PARTS * len(roles) * self.terms)
        moments = tf.reshape(moments, shape)
        of_ties = None
        if levels.tied is not None:
            missing = steps * _GROUPS - groups
            of_ties = tf.reshape(tf.pad(levels.tied, [[0, missing], [0, 0]]), (steps, -1))
        used = tf.reduce_max(tf.where(counted, levels.group + 1, 0))
        boxes = tf.reduce_max(part) // PARTS + 1
        width = tf.reduce_sum(tf.cast(boxes > _WIDTHS[:-1], tf.int32))

        def add_groups(
            step: tf.Tensor, totals: tf.Tensor, cells: tf.Tensor
        ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            some = tf.gather(cells, step)
            ties = None if of_ties is None else tf.gather(of_ties, step)
            some_totals, some = tf.switch_case(
                width,
                [functools.partial(self._of_groups, some, ties, number, w) for w in _WIDTHS],
            )
            totals = tf.tensor_scatter_nd_update(totals, [[step]], some_totals[None])
            return step + 1, totals, tf.tensor_scatter_nd_update(cells, [[step]], some[None])

        # The slopes of groups that have been taken replace their moments.
        start = tf.constant(0), tf.zeros((steps, _GROUPS), tf.float64), moments
        _, totals, slopes = tf.while_loop(
            lambda step, *_: step * _GROUPS < used, add_groups, start
        )
        totals = tf.reshape(totals, (-1,))[:groups]
        if levels.tied is not None:
            totals -= np.log(2.0) * levels.sum_tied()
        of_rows = tf.gather(tf.reshape(slopes, (cells, len(roles), self.terms)), index)
        slope = tf.reduce_sum(of_rows * powers[:, None], axis=2) * tf.stack(roles, 1)
        return totals, tf.reduce_sum(slope, axis=1), failed

    def _of_groups(
        self, moments: tf.Tensor, ties: tf.Tensor | None, number: int, boxes: int
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The totals of some groups, and the slope at the terms of their boxes."""
        rows = _GROUPS * number
        matrix = nodes_by_terms(self.nodes, self.terms)  # (term, part, node)
        matrix = np.reshape(np.swapaxes(matrix, 0, 1), (PARTS * self.terms, self.nodes))
        flat = (rows, boxes * self.nodes)
        moments = tf.reshape(moments[:, :boxes], (rows * boxes, PARTS, -1, self.terms))
        roles = [
            tf.reshape(tf.matmul(tf.reshape(of_role, (rows * boxes, -1)), matrix), flat)
            for of_role in tf.unstack(moments, axis=2)
        ]
        weights, lower_weights = roles[0], roles[-1]
        names = kernels_of(self.ties, self.zero_one)
        loss, to_higher, to_lower, *tied = constant_matrices(names, boxes, self.nodes)
        of_levels = (_GROUPS, number, boxes * self.nodes)
        is_below = tf.constant(np.tril(np.ones((number, number)), -1))[None]
        below = tf.reshape(tf.matmul(is_below, tf.reshape(lower_weights, of_levels)), flat)
        above = tf.matmul(is_below, tf.reshape(weights, of_levels), transpose_a=True)
        potential = tf.matmul(below, loss)
        slopes = [-tf.matmul(below, to_higher), tf.matmul(tf.reshape(above, flat), to_lower)]
        if ties is not None:  # both orders of a pair count, so each half of a pair's weight once
            ties = ties[:, None]
            potential = 2.0 * potential + tf.matmul(lower_weights * ties, tied[0])
            slopes = [
                2.0 * slope + 0.5 * tf.matmul(role * ties, tied[1])
                for slope, role in zip(slopes, (lower_weights, weights), strict=True)
            ]
        totals = tf.reduce_sum(tf.reshape(weights * potential, (_GROUPS, -1)), axis=1)
        if len(roles) == 1:
            slopes = [tf.add_n(slopes)]
        at_terms = [
            tf.matmul(tf.reshape(slope, (rows * boxes, self.nodes)), matrix, transpose_b=True)
            for slope in slopes
        ]
        at_parts = [tf.reshape(slope, (rows * boxes, PARTS, self.terms)) for slope in at_terms]
        slope = tf.reshape(tf.stack(at_parts, axis=2), (rows, boxes, -1))
        return totals, tf.pad(slope, [[0, 0], [0, BOXES - boxes], [0, 0]])
