"""The logistic loss and the soft zero-one loss over pairs of different levels, in linear time.

Rows are replaced by the nodes of their boxes (`boxes.py`). With `M_l` the node weights of
level `l`, `below_l` and `above_l` the sums of those of lower and of higher levels,
`B = softplus(-(z_p - z_q))` and `A = sigmoid(-(z_p - z_q))` (of the zero-one loss these are
`sigmoid(-(z_p - z_q))` and its slope, a bell),

    total          =  sum_l  M_l . (B below_l)
    derivative_l   =  -A below_l + A^T above_l              at the nodes of level l.

Where a pair weighs what its higher row weighs, `below_l` sums up nodes of rows that weigh 1, and
the two parts of the derivative are multiplied by different weights of a row.

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
from .logistic_far import Nodes, far_sums
from .node_kernels import kernel_matrices
from .reduce import count_by_group, sum_by_group

_NODES_A_ROW = 64
_FEW_NODES = 2**22  # 32 MB
_KERNELS = ("softplus(-d)", "sigmoid(-d)", "sigmoid(d)")
_OF_TIES = ("log(2 cosh(d/2))", "tanh(d/2)")
_OF_ZERO_ONE = ("sigmoid(-d)", *2 * ("sigmoid(d) sigmoid(-d)",))


def kernels_of(ties: bool, zero_one: bool) -> tuple[str, ...]:
    """The kernels from node to node: terms, slopes of higher and lower rows, then of ties."""
    if zero_one:
        return _OF_ZERO_ONE
    return _KERNELS + _OF_TIES if ties else _KERNELS


@dataclass(frozen=True)
class LogisticSums:
    """The sums over the pairs of different levels; see `levels.LevelSums`.

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

        def nodes_of(weight: tf.Tensor | None) -> Nodes:
            if weight is None:
                moments = [tf.cast(count_by_group(index, number), tf.float64)]
                weighted = powers
            else:
                moments = [sum_by_group(weight, index, number)]
                weighted = [weight * value for value in powers]
            moments += [sum_by_group(values, index, number) for values in weighted]
            weights = tf.reshape(node_weights(moments, self.nodes), shape)
            if levels.tied is None:
                return Nodes(weights, weights)
            return Nodes(weights, weights * tf.gather(levels.tied, boxes.group)[..., None])

        higher = nodes_of(levels.weight)
        lower = nodes_of(None) if levels.by_preferred else higher
        total, slopes = self._of_nodes(boxes, higher, lower)
        totals = sum_by_group(total, boxes.group, levels.num_groups)
        if levels.tied is not None:
            totals -= np.log(2.0) * levels.sum_tied()
        if not levels.by_preferred:
            slopes = [slopes[0] + slopes[1]]
        at = [
            at_rows(tf.reshape(slope, (-1, self.nodes)), boxes.place, index, self.terms)
            for slope in slopes
        ]
        slope = at[0] if levels.weight is None else levels.weight * at[0]
        if levels.by_preferred:
            slope += at[1]
        return totals, slope, tf.zeros_like(totals, tf.bool)

    def _of_nodes(
        self, boxes: Boxes, higher: Nodes, lower: Nodes
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """The total of each block, and the slopes at its nodes as higher and as lower ones."""
        of_blocks = self._of_blocks(higher.weights, [higher], [lower], (0,))

        def beyond_the_block() -> tuple[tf.Tensor, ...]:
            places = node_places(self.nodes, boxes.number)
            far = far_sums(boxes, higher, lower, places, self.ties, self.zero_one)
            steps = (-1, 1)
            there = [_block_beside(boxes, step) for step in steps]
            beside = [_beside(higher, *place) for place in there]
            lower_beside = beside
            if lower is not higher:
                lower_beside = [_beside(lower, *place) for place in there]
            near = self._of_blocks(higher.weights, beside, lower_beside, steps)
            return tuple(tf.add_n(parts) for parts in zip(of_blocks, far, near, strict=True))

        several = tf.reduce_max(boxes.segment) > 0
        total, *slopes = tf.cond(several, beyond_the_block, lambda: of_blocks)
        return total, slopes

    def _of_blocks(
        self,
        weights: tf.Tensor,
        higher: list[Nodes],
        lower: list[Nodes],
        steps: tuple[int, ...],
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """The pairs of each block with others, which lie `steps` segments above it."""
        shape = tf.shape(weights)
        _, levels, width = tf.unstack(shape)
        # Sums over lower and over higher levels; `tf.cumsum` takes six times as long.
        level = tf.range(levels)
        is_below = tf.cast(tf.expand_dims(level, 1) > level, tf.float64)
        shifts = tuple(-step for step in steps)
        names = kernels_of(self.ties, self.zero_one)
        matrices = kernel_matrices(names, width // self.nodes, self.nodes, shifts)
        flat = tf.stack([-1, width])
        sums: list[list[tf.Tensor]] = [[], [], []]
        for high, low, (loss, to_higher, to_lower, *of_ties) in zip(
            higher, lower, matrices, strict=True
        ):
            below = tf.reshape(tf.matmul(is_below, low.weights), flat)
            above = tf.reshape(tf.matmul(is_below, high.weights, transpose_a=True), flat)
            potential = tf.matmul(below, loss)
            as_higher, as_lower = -tf.matmul(below, to_higher), tf.matmul(above, to_lower)
            if of_ties:  # both orders of a pair count, so each half of a pair's weight once
                tie = tf.reshape(low.tied, flat)
                potential = 2.0 * potential + tf.matmul(tie, of_ties[0])
                pull = opposite = 0.5 * tf.matmul(tie, of_ties[1])
                if high is not low:
                    opposite = 0.5 * tf.matmul(tf.reshape(high.tied, flat), of_ties[1])
                as_higher, as_lower = 2.0 * as_higher + pull, 2.0 * as_lower + opposite
            for parts, part in zip(sums, (potential, as_higher, as_lower), strict=True):
                parts.append(part)
        potential, as_higher, as_lower = (
            tf.reshape(tf.add_n(parts) if len(parts) > 1 else parts[0], shape) for parts in sums
        )
        return tf.reduce_sum(weights * potential, axis=(1, 2)), as_higher, as_lower


def _block_beside(boxes: Boxes, step: int) -> tuple[tf.Tensor, tf.Tensor]:
    """For each block the one of the segment before (-1) or after (1) it, and whether it is."""
    blocks = tf.size(boxes.group)
    block = tf.range(blocks) + step
    index = tf.clip_by_value(block, 0, blocks - 1)
    there = tf.equal(block, index) & tf.equal(tf.gather(boxes.group, index), boxes.group)
    there &= tf.equal(tf.gather(boxes.segment, index), boxes.segment + step)
    return index, tf.reshape(there, (-1, 1, 1))


def _beside(nodes: Nodes, index: tf.Tensor, there: tf.Tensor) -> Nodes:
    """The nodes of other blocks, of weight 0 where there is none."""
    return Nodes(*(tf.where(there, tf.gather(weights, index), 0.0) for weights in nodes))
