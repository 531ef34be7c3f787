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
rows, the groups are reported as failed, to be summed pair by pair.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from .boxes import PARTS, Boxes, at_rows, node_places, node_weights, place_powers, sort_into_boxes
from .levels import Levels
from .logistic_far import far_sums
from .node_kernels import apply_kernel
from .reduce import count_by_group, sum_by_group

_NODES_A_ROW = 64
_FEW_NODES = 2**22  # 32 MB


@dataclass(frozen=True)
class LogisticSums:
    """The sums over the pairs of different levels; see `levels.LevelSums`.

    Attributes:
        nodes: Nodes a box.
        terms: Terms of the powers of a row. Both decide the accuracy.
        ties: Whether each pair counts twice and pairs of one label once in each order.
    """

    nodes: int
    terms: int
    ties: bool

    def __call__(self, levels: Levels) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """The total of each group, the slope of each row, and which groups failed."""
        boxes = sort_into_boxes(levels.score, levels.group, levels.num_groups)
        # Rows that lie segments apart from each other would take far more nodes than rows.
        counts = tf.size(boxes.group), levels.number, boxes.number * self.nodes
        nodes = tf.reduce_prod([tf.cast(count, tf.float64) for count in counts])
        rows = tf.cast(tf.size(levels.group), tf.float64)

        def too_sparse() -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            totals = tf.zeros((levels.num_groups,), tf.float64)
            return totals, tf.zeros_like(levels.score), tf.ones_like(totals, tf.bool)

        totals, slope, failed = tf.cond(
            nodes > _NODES_A_ROW * rows + _FEW_NODES,
            too_sparse,
            lambda: self._in_boxes(levels, boxes),
        )
        return totals, slope, failed

    def _in_boxes(self, levels: Levels, boxes: Boxes) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        parts = boxes.number * PARTS
        index = (boxes.block * levels.number + levels.level) * parts + boxes.part
        shape = (tf.size(boxes.group), levels.number, boxes.number * self.nodes)
        number = shape[0] * levels.number * parts
        powers = place_powers(boxes, self.terms)
        if levels.weight is None:
            moments = [tf.cast(count_by_group(index, number), tf.float64)]
            weighted = powers
        else:
            moments = [sum_by_group(levels.weight, index, number)]
            weighted = [levels.weight * value for value in powers]
        moments += [sum_by_group(values, index, number) for values in weighted]
        weights = tf.reshape(node_weights(moments, self.nodes), shape)
        tied = weights
        if levels.tied is not None:
            tied *= tf.gather(levels.tied, boxes.group)[..., None]

        total, slope = self._of_nodes(boxes, weights, tied)
        totals = sum_by_group(total, boxes.group, levels.num_groups)
        if levels.tied is not None:
            totals -= np.log(2.0) * levels.sum_tied()
        slope = at_rows(tf.reshape(slope, (-1, self.nodes)), boxes.place, index, self.terms)
        if levels.weight is not None:
            slope *= levels.weight
        return totals, slope, tf.zeros_like(totals, tf.bool)

    def _of_nodes(
        self, boxes: Boxes, weights: tf.Tensor, tied: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The total of each block, and the slope at its nodes."""
        total, slope = self._of_blocks(weights, weights, tied)

        def beyond_the_block() -> tuple[tf.Tensor, tf.Tensor]:
            places = node_places(self.nodes, boxes.number)
            added = [far_sums(boxes, weights, tied, places, self.ties)]
            for step in (-1, 1):
                others = _beside(boxes, weights, step), _beside(boxes, tied, step)
                added.append(self._of_blocks(weights, *others, step))
            totals, slopes = zip(*added, strict=True)
            return total + tf.add_n(totals), slope + tf.add_n(slopes)

        several = tf.reduce_max(boxes.segment) > 0
        total, slope = tf.cond(several, beyond_the_block, lambda: (total, slope))
        return total, slope

    def _of_blocks(
        self, weights: tf.Tensor, others: tf.Tensor, tied: tf.Tensor, step: int = 0
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The pairs of each block with one other, which lies `step` segments above it."""
        # Sums over lower and over higher levels; `tf.cumsum` takes six times as long.
        ones = tf.ones((tf.shape(weights)[1],) * 2, tf.float64)
        not_higher, not_lower = tf.linalg.band_part(ones, -1, 0), tf.linalg.band_part(ones, 0, -1)
        below, above = tf.matmul(ones - not_lower, others), tf.matmul(ones - not_higher, others)
        kernel = functools.partial(apply_kernel, nodes=self.nodes, shift=-step)
        potential = kernel("softplus(-d)", below)
        slope = kernel("sigmoid(d)", above) - kernel("sigmoid(-d)", below)
        if self.ties:
            potential = 2.0 * potential + kernel("log(2 cosh(d/2))", tied)
            slope = 2.0 * slope + kernel("tanh(d/2)", tied)
        return tf.reduce_sum(weights * potential, axis=(1, 2)), slope


def _beside(boxes: Boxes, weights: tf.Tensor, step: int) -> tf.Tensor:
    """For each block the weights of the segment before (-1) or after (1) it, or 0."""
    block = tf.range(tf.size(boxes.group)) + step
    index = tf.clip_by_value(block, 0, tf.size(boxes.group) - 1)
    there = tf.equal(block, index) & tf.equal(tf.gather(boxes.group, index), boxes.group)
    there &= tf.equal(tf.gather(boxes.segment, index), boxes.segment + step)
    return tf.where(there[:, None, None], tf.gather(weights, index), 0.0)
