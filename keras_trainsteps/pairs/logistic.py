"""The logistic loss over pairs of different levels, in linear time.

Rows are replaced by the nodes of their boxes (`boxes.py`). With `M_l` the node weights of
level `l`, `below_l` and `above_l` the sums of those of lower and of higher levels,
`A = sigmoid(-(z_p - z_q))` and `B = softplus(-(z_p - z_q))`,

    total          =  sum_l  M_l . (B below_l)
    derivative_l   =  -A below_l + A^T above_l              at the nodes of level l.

Where ties count as well, as in all ordered pairs, both are doubled and the pairs of one
level add `h(d) = log(2 cosh(d / 2))` each, `M_l . (H M_l) - log(2) sum w^2` without the
rows with themselves, and their derivative `tanh(d / 2)`.

Pairs in one segment and in segments side by side are summed so; pairs further apart are
more than a segment apart, where the kernel is a straight line or an exponential
(`logistic_far.py`). Where rows lie so far apart that nodes would take more memory than
rows, the groups are reported as failed, to be summed exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from .boxes import (
    SEGMENT,
    Boxes,
    at_rows,
    chebyshev,
    node_places,
    node_weights,
    sort_into_boxes,
)
from .levels import Levels
from .logistic_far import far_sums
from .reduce import sum_by_group
from .rules import PairRows

_NODES_A_ROW = 64
_FEW_NODES = 2**22  # 32 MB


@dataclass(frozen=True)
class LogisticSums:
    """The sums over the pairs of different levels; see `levels.LevelSums`.

    Attributes:
        rows: The rows.
        nodes: Nodes a box: what decides the accuracy.
        ties: Whether each pair counts twice and pairs of one label once in each order.
    """

    rows: PairRows
    nodes: int
    ties: bool

    def __call__(self, levels: Levels) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """The total of each group, the slope of each row, and which groups failed."""
        num_groups = tf.shape(levels.weights)[0]
        boxes = sort_into_boxes(self.rows.score, levels.group, num_groups)
        # Rows that lie segments apart from each other would take far more nodes than rows.
        counts = tf.size(boxes.group), levels.number, boxes.number * self.nodes
        nodes = tf.reduce_prod([tf.cast(count, tf.float64) for count in counts])
        rows = tf.cast(tf.size(levels.group), tf.float64)

        def too_sparse() -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            totals = tf.zeros((num_groups,), tf.float64)
            return totals, tf.zeros_like(self.rows.score), tf.ones((num_groups,), tf.bool)

        totals, slope, failed = tf.cond(
            nodes > _NODES_A_ROW * rows + _FEW_NODES,
            too_sparse,
            lambda: self._in_boxes(levels, boxes),
        )
        return totals, slope, failed

    def _in_boxes(self, levels: Levels, boxes: Boxes) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        num_groups = tf.shape(levels.weights)[0]
        index = (boxes.block * levels.number + levels.level) * boxes.number + boxes.box
        index = tf.where(levels.group < 0, -1, index)
        polynomials = chebyshev(boxes, self.nodes)
        weighted = polynomials
        if self.rows.weight is not None:
            weighted = [self.rows.weight * value for value in polynomials]
        shape = (tf.size(boxes.group), levels.number, boxes.number * self.nodes)
        number = shape[0] * levels.number * boxes.number
        weights = tf.reshape(node_weights(weighted, index, number), shape)
        tied = weights
        if levels.tied is not None:
            tied *= tf.gather(levels.tied, boxes.group)[..., None]

        total, slope = self._of_nodes(boxes, weights, tied)
        totals = sum_by_group(total, boxes.group, num_groups)
        if levels.tied is not None:
            totals -= np.log(2.0) * levels.sum_tied(tf.square(self.rows.weights()))
        slope = at_rows(tf.reshape(slope, (-1, self.nodes)), polynomials, index)
        if self.rows.weight is not None:
            slope *= self.rows.weight
        slope = tf.where(levels.group < 0, tf.zeros_like(slope), slope)
        return totals, slope, tf.zeros((num_groups,), tf.bool)

    def _of_nodes(
        self, boxes: Boxes, weights: tf.Tensor, tied: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The total of each block, and the slope at its nodes."""
        places = node_places(self.nodes, boxes.number)
        d = places[:, None] - places[None, :]
        total, slope = self._of_blocks(weights, weights, tied, d)

        def beyond_the_block() -> tuple[tf.Tensor, tf.Tensor]:
            added = [far_sums(boxes, weights, tied, places, self.ties)]
            for step in (-1, 1):
                others = _beside(boxes, weights, step), _beside(boxes, tied, step)
                added.append(self._of_blocks(weights, *others, d - step * SEGMENT))
            totals, slopes = zip(*added, strict=True)
            return total + tf.add_n(totals), slope + tf.add_n(slopes)

        several = tf.reduce_max(boxes.segment) > 0
        total, slope = tf.cond(several, beyond_the_block, lambda: (total, slope))
        return total, slope

    def _of_blocks(
        self, weights: tf.Tensor, others: tf.Tensor, tied: tf.Tensor, d: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The pairs of each block with one other, `d` being the score less the other's."""
        below = tf.cumsum(others, axis=1, exclusive=True)
        above = tf.cumsum(others, axis=1, exclusive=True, reverse=True)
        potential = _apply(tf.nn.softplus(-d), below)
        slope = _apply(tf.sigmoid(d), above) - _apply(tf.sigmoid(-d), below)
        if self.ties:
            even = tf.nn.softplus(-d) + 0.5 * d
            potential = 2.0 * potential + _apply(even, tied)
            slope = 2.0 * slope + _apply(tf.tanh(0.5 * d), tied)
        return tf.reduce_sum(weights * potential, axis=(1, 2)), slope


def _apply(matrix: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """`matrix @ values` along the last axis of `(blocks, levels, nodes)`."""
    flat = tf.reshape(values, (-1, tf.shape(matrix)[1]))
    return tf.reshape(tf.matmul(flat, matrix, transpose_b=True), tf.shape(values))


def _beside(boxes: Boxes, weights: tf.Tensor, step: int) -> tf.Tensor:
    """For each block the weights of the segment before (-1) or after (1) it, or 0."""
    block = tf.range(tf.size(boxes.group)) + step
    index = tf.clip_by_value(block, 0, tf.size(boxes.group) - 1)
    there = tf.equal(block, index) & tf.equal(tf.gather(boxes.group, index), boxes.group)
    there &= tf.equal(tf.gather(boxes.segment, index), boxes.segment + step)
    return tf.where(there[:, None, None], tf.gather(weights, index), 0.0)
