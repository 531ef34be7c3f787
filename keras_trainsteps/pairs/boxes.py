"""Rows by Chebyshev nodes in boxes of score space.

The scores of a batch are cut into segments of length `SEGMENT`, each segment into boxes
of length `WIDTH`, and each box holds `P` Chebyshev nodes. A kernel that is smooth on the
scale of a box is then a polynomial there, and a row of score `s` and weight `w` acts like
its nodes with the weights `w L_p(s)`, `L_p` being the Lagrange polynomials:

    sum_j w_j phi(s_i - s_j)  =  sum_p L_p(s_i) sum_q phi(z_p - z_q) (sum_j w_j L_q(s_j))

`log(1 + exp(-d))` has its nearest singularities at `d = +-i pi`, so the error falls as
`(4 pi / WIDTH)**-P`: `P` = 6 gives 1e-8 of the kernel, `P` = 11 gives 1e-15. It stays
relative where the kernel decays as `exp(-d)`, since over a box it varies by little.

Nodes lie at the same places in every segment, so the matrix of `phi(z_p - z_q)` is one
for all segments (`node_kernels.py`) and the sum over nodes is one product of matrices.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from .reduce import take

WIDTH = 0.5
BOXES = 64  # in a segment
SEGMENT = WIDTH * BOXES


class Boxes(NamedTuple):
    """Where each row lies.

    Attributes:
        group: The group of each block, int32 `(blocks,)`. A block is one segment of one
            group; blocks are sorted by group, then by segment.
        segment: The segment of each block, float64 `(blocks,)`.
        block: The block of each row, int32 `(rows,)`.
        local: The score of each row less the beginning of its segment.
        box: The box of each row in its segment, int32.
        number: How many boxes of a segment are in use.
    """

    group: tf.Tensor
    segment: tf.Tensor
    block: tf.Tensor
    local: tf.Tensor
    box: tf.Tensor
    number: tf.Tensor


def sort_into_boxes(score: tf.Tensor, group: tf.Tensor, num_groups: tf.Tensor) -> Boxes:
    """The boxes of scores, float64 `(rows,)`, in groups."""
    low = tf.reduce_min(score)
    shifted = score - low

    def one_segment() -> tuple[tf.Tensor, ...]:
        block_segment = tf.zeros((num_groups,), tf.float64)
        box = tf.cast(shifted * (1.0 / WIDTH), tf.int32)
        return tf.range(num_groups), block_segment, group, shifted, box

    def many_segments() -> tuple[tf.Tensor, ...]:
        segment = tf.floor(shifted * (1.0 / SEGMENT))
        block_group, block_segment, block = _blocks(group, segment)
        # Of a score beyond 2**53 segments not even the segment is known; what is left of
        # it is kept in the segment.
        local = tf.clip_by_value(shifted - segment * SEGMENT, 0.0, SEGMENT)
        box = tf.minimum(tf.cast(local * (1.0 / WIDTH), tf.int32), BOXES - 1)
        return block_group, block_segment, block, local, box

    near = tf.reduce_max(score) - low < SEGMENT
    block_group, block_segment, block, local, box = tf.cond(near, one_segment, many_segments)
    return Boxes(block_group, block_segment, block, local, box, tf.reduce_max(box) + 1)


def chebyshev(boxes: Boxes, nodes: int) -> list[tf.Tensor]:
    """The Chebyshev polynomials of each row's place in its box, float64 `(rows,)` each.

    From the first on: the one before it is 1 everywhere.
    """
    x = (2.0 / WIDTH) * boxes.local - (2.0 * tf.cast(boxes.box, tf.float64) + 1.0)
    twice = 2.0 * x
    values = [x, twice * x - 1.0]
    while len(values) < nodes - 1:
        values.append(twice * values[-1] - values[-2])
    return values


def node_weights(moments: list[tf.Tensor]) -> tf.Tensor:
    """The weight of each node, `(number, nodes)`.

    Args:
        moments: For each box the sums of its rows' weights times each polynomial.
    """
    return tf.matmul(tf.stack(moments, axis=-1), _lagrange(len(moments)))


def at_rows(by_node: tf.Tensor, polynomials: list[tf.Tensor], index: tf.Tensor) -> tf.Tensor:
    """A function given at the nodes, `(number, nodes)`, at the rows in boxes `index`."""
    lagrange = _lagrange(len(polynomials) + 1)
    coefficients = take(tf.matmul(by_node, lagrange, transpose_b=True), index)
    constant, *others = tf.unstack(coefficients, axis=-1)
    terms = [c * p for c, p in zip(others, polynomials, strict=True)]
    return tf.add_n([constant, *terms])


def node_places(nodes: int, number: tf.Tensor) -> tf.Tensor:
    """Where the nodes of the first `number` boxes of a segment lie, `(number * nodes,)`."""
    begin = WIDTH * tf.cast(tf.range(number), tf.float64)
    return tf.reshape(begin[:, None] + node_places_in_box(nodes), (-1,))


def node_places_in_box(nodes: int) -> np.ndarray:
    """Where the nodes of a box lie, from where it begins."""
    return 0.5 * WIDTH * (1.0 + np.cos(np.pi * (np.arange(nodes) + 0.5) / nodes))


def _lagrange(nodes: int) -> np.ndarray:
    """`C` with `L_p(x) = sum_k C[k, p] T_k(x)`."""
    k = np.arange(nodes)[:, None]
    values = np.cos(k * np.pi * (np.arange(nodes) + 0.5) / nodes)
    return np.where(k == 0, 1.0, 2.0) / nodes * values


def _blocks(group: tf.Tensor, segment: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The segments that hold rows, group by group: group, segment, and block of a row."""
    segments, segment_index = tf.unique(segment)
    by_size = tf.argsort(segments)
    segment_rank = tf.gather(tf.argsort(by_size), segment_index)
    width = tf.cast(tf.size(segments), tf.int64)
    key = tf.cast(group, tf.int64) * width + tf.cast(segment_rank, tf.int64)
    keys, key_index = tf.unique(key)
    order = tf.argsort(keys)
    block = tf.gather(tf.argsort(order), key_index)
    keys = tf.gather(keys, order)
    block_group = tf.cast(keys // width, tf.int32)
    block_segment = tf.gather(tf.gather(segments, by_size), tf.cast(keys % width, tf.int32))
    return block_group, block_segment, block
