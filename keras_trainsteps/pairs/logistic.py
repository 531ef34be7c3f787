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

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from .boxes import PARTS, Boxes, at_rows, node_places, node_weights, place_powers, sort_into_boxes
from .levels import Levels
from .logistic_far import far_sums
from .node_kernels import kernel_matrices
from .reduce import count_by_group, sum_by_group

_NODES_A_ROW = 64
_FEW_NODES = 2**22  # 32 MB
KERNELS = ("softplus(-d)", "sigmoid(-d)", "sigmoid(d)")
TIED_KERNELS = (*KERNELS, "log(2 cosh(d/2))", "tanh(d/2)")


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
        total, slope = self._of_blocks(boxes, weights, [weights], [tied], (0,))

        def beyond_the_block() -> tuple[tf.Tensor, tf.Tensor]:
            places = node_places(self.nodes, boxes.number)
            far_total, far_slope = far_sums(boxes, weights, tied, places, self.ties)
            steps = (-1, 1)
            there = [_block_beside(boxes, step) for step in steps]
            others = [_beside(weights, *place) for place in there]
            ties = [_beside(tied, *place) for place in there] if self.ties else others
            near_total, near_slope = self._of_blocks(boxes, weights, others, ties, steps)
            return total + far_total + near_total, slope + far_slope + near_slope

        several = tf.reduce_max(boxes.segment) > 0
        total, slope = tf.cond(several, beyond_the_block, lambda: (total, slope))
        return total, slope

    def _of_blocks(
        self,
        boxes: Boxes,
        weights: tf.Tensor,
        others: list[tf.Tensor],
        tied: list[tf.Tensor],
        steps: tuple[int, ...],
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The pairs of each block with others, which lie `steps` segments above it."""
        shape = tf.shape(weights)
        _, levels, width = tf.unstack(shape)
        # Sums over lower and over higher levels; `tf.cumsum` takes six times as long.
        level = tf.range(levels)
        is_below = tf.cast(tf.expand_dims(level, 1) > level, tf.float64)
        names = TIED_KERNELS if self.ties else KERNELS
        shifts = tuple(-step for step in steps)
        matrices = kernel_matrices(names, boxes.number, self.nodes, shifts)
        flat = tf.stack([-1, width])
        potentials, slopes = [], []
        for other, tie, (loss, lower, higher, *of_ties) in zip(
            others, tied, matrices, strict=True
        ):
            below = tf.reshape(tf.matmul(is_below, other), flat)
            above = tf.reshape(tf.matmul(is_below, other, transpose_a=True), flat)
            potential = tf.matmul(below, loss)
            slope = tf.matmul(above, higher) - tf.matmul(below, lower)
            if of_ties:
                tie = tf.reshape(tie, flat)
                potential = 2.0 * potential + tf.matmul(tie, of_ties[0])
                slope = 2.0 * slope + tf.matmul(tie, of_ties[1])
            potentials.append(potential)
            slopes.append(slope)
        potential, slope = (
            tf.reshape(tf.add_n(x) if len(x) > 1 else x[0], shape) for x in (potentials, slopes)
        )
        return tf.reduce_sum(weights * potential, axis=(1, 2)), slope


def _block_beside(boxes: Boxes, step: int) -> tuple[tf.Tensor, tf.Tensor]:
    """For each block the one of the segment before (-1) or after (1) it, and whether it is."""
    blocks = tf.size(boxes.group)
    block = tf.range(blocks) + step
    index = tf.clip_by_value(block, 0, blocks - 1)
    there = tf.equal(block, index) & tf.equal(tf.gather(boxes.group, index), boxes.group)
    there &= tf.equal(tf.gather(boxes.segment, index), boxes.segment + step)
    return index, tf.reshape(there, (-1, 1, 1))


def _beside(weights: tf.Tensor, index: tf.Tensor, there: tf.Tensor) -> tf.Tensor:
    """The weights of other blocks, or 0."""
    return tf.where(there, tf.gather(weights, index), 0.0)
