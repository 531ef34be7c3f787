"""Rows by Chebyshev nodes in boxes of score space.

The scores of a batch are cut into segments of length `SEGMENT`, each segment into boxes
of length `WIDTH`, and each box holds `P` Chebyshev nodes. A kernel that is smooth on the
scale of a box is then a polynomial there, and a row of score `s` and weight `w` acts like
its nodes with the weights `w L_p(s)`, `L_p` being the Lagrange polynomials:

    sum_j w_j phi(s_i - s_j)  =  sum_p L_p(s_i) sum_q phi(z_p - z_q) (sum_j w_j L_q(s_j))

`log(1 + exp(-d))` has its nearest singularities at `d = +-i pi`, so the error falls as
`(4 pi / WIDTH)**-P`: `P` = 5 gives 1e-8 of the kernel, `P` = 9 gives 1e-15. It stays
relative where the kernel decays as `exp(-d)`, since over a box it varies by little.

Nodes lie at the same places in every segment, so the matrix of `phi(z_p - z_q)` is one
for all segments and the sum over nodes is one product of matrices.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from .reduce import sum_by_group

WIDTH = 0.25
SEGMENT = 32.0


class Boxes(NamedTuple):
    """Where each row lies.

    Attributes:
        group: The group of each block, int32 `(blocks,)`. A block is one segment of one
            group; blocks are sorted by group, then by segment.
        segment: The segment of each block, float64 `(blocks,)`.
        block: The block of each row, int32 `(rows,)`; -1 for rows of no group.
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
    """The boxes of scores, float64 `(rows,)`, in groups, -1 for none."""
    active = group >= 0
    low = tf.reduce_min(tf.where(active, score, np.inf))
    shifted = tf.where(active, score - low, 0.0)
    segment = tf.floor(shifted / SEGMENT)

    def one_segment() -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        return tf.range(num_groups), tf.zeros((num_groups,), tf.float64), group

    def many_segments() -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        return _blocks(group, segment)

    block_group, block_segment, block = tf.cond(
        tf.reduce_max(segment) < 1, one_segment, many_segments
    )
    # Of a score beyond 2**53 segments not even the segment is known; what is left of it
    # is kept in the segment.
    local = tf.clip_by_value(shifted - segment * SEGMENT, 0.0, SEGMENT)
    last = int(SEGMENT / WIDTH) - 1
    box = tf.minimum(tf.cast(local / WIDTH, tf.int32), last)
    number = tf.reduce_max(box) + 1
    return Boxes(block_group, block_segment, block, local, box, number)


def chebyshev(boxes: Boxes, nodes: int) -> list[tf.Tensor]:
    """The Chebyshev polynomials of each row's place in its box, float64 `(rows,)` each."""
    x = boxes.local * (2 / WIDTH) - (2.0 * tf.cast(boxes.box, tf.float64) + 1.0)
    values = [tf.ones_like(x), x]
    while len(values) < nodes:
        values.append(2.0 * x * values[-1] - values[-2])
    return values[:nodes]


def node_weights(weighted: list[tf.Tensor], index: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
    """The weight of each node, `(number, nodes)`, from rows in boxes `index`."""
    moments = [sum_by_group(values, index, number) for values in weighted]
    return tf.matmul(tf.stack(moments, axis=-1), _lagrange(len(weighted)))


def at_rows(by_node: tf.Tensor, polynomials: list[tf.Tensor], index: tf.Tensor) -> tf.Tensor:
    """A function given at the nodes, `(number, nodes)`, at the rows in boxes `index`."""
    coefficients = tf.matmul(by_node, _lagrange(len(polynomials)), transpose_b=True)
    index = tf.maximum(index, 0)
    columns = tf.unstack(coefficients, axis=-1)
    return tf.add_n([tf.gather(c, index) * p for c, p in zip(columns, polynomials, strict=True)])


def node_places(nodes: int, number: tf.Tensor) -> tf.Tensor:
    """Where the nodes of the first `number` boxes of a segment lie, `(number * nodes,)`."""
    begin = WIDTH * tf.cast(tf.range(number), tf.float64)
    inside = 0.5 * WIDTH * (1.0 + _roots(nodes))
    return tf.reshape(begin[:, None] + inside, (-1,))


def _roots(nodes: int) -> np.ndarray:
    return np.cos(np.pi * (np.arange(nodes) + 0.5) / nodes)


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
    keys, key_index = tf.unique(tf.where(group < 0, tf.constant(-1, tf.int64), key))
    order = tf.argsort(keys)
    block = tf.gather(tf.argsort(order), key_index)
    # The rows of no group have sorted themselves into a block in front: it is dropped.
    blank = tf.reduce_sum(tf.cast(keys < 0, tf.int32))
    keys, block = tf.gather(keys, order)[blank:], block - blank
    block_group = tf.cast(tf.math.floordiv(keys, width), tf.int32)
    rank = tf.cast(tf.math.floormod(keys, width), tf.int32)
    block_segment = tf.gather(tf.gather(segments, by_size), rank)
    return block_group, block_segment, block
