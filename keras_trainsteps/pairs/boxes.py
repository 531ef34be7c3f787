"""Rows by Chebyshev nodes in boxes of score space.

The scores of a batch are cut into segments of length `SEGMENT`, each segment into boxes
of length `WIDTH`, and each box holds `P` Chebyshev nodes. A kernel that is smooth on the
scale of a box is then a polynomial there, and a row of score `s` and weight `w` acts like
its nodes with the weights `w L_p(s)`, `L_p` being the Lagrange polynomials:

    sum_j w_j phi(s_i - s_j)  =  sum_p L_p(s_i) sum_q phi(z_p - z_q) (sum_j w_j L_q(s_j))

`log(1 + exp(-d))` has its nearest singularities at `d = +-i pi`, so the error falls as
`(4 pi / WIDTH)**-P`: `P` = 8 gives 1e-8 of the kernel, `P` = 13 gives 1e-14. It stays
relative where the kernel decays as `exp(-d)`, since over a box it varies by little.

What is done for each row costs more than all that is done for nodes, so rows see shorter
polynomials: a box has `PARTS` parts, in each of which a polynomial of `T` < `P` terms does
as well (`T` = 5 gives 1e-8, `T` = 8 gives 1e-14), and a constant matrix leads from the
terms of the parts to the nodes of the box.

Nodes lie at the same places in every segment, so the matrix of `phi(z_p - z_q)` is one
for all segments (`node_kernels.py`) and the sum over nodes is one product of matrices.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from .reduce import take

WIDTH = 1.0
BOXES = 32  # in a segment
PARTS = 4  # of a box
SEGMENT = WIDTH * BOXES


class Boxes(NamedTuple):
    """Where each row lies.

    Attributes:
        group: The group of each block, int32 `(blocks,)`. A block is one segment of one
            group; blocks are sorted by group, then by segment.
        segment: The segment of each block, float64 `(blocks,)`.
        block: The block of each row, int32 `(rows,)`.
        part: The part of a box of each row, counted from where its segment begins, int32.
        place: Where in its part each row lies: -1/2 where it begins, 1/2 where it ends.
        number: How many boxes of a segment are in use.
    """

    group: tf.Tensor
    segment: tf.Tensor
    block: tf.Tensor
    part: tf.Tensor
    place: tf.Tensor
    number: tf.Tensor


def sort_into_boxes(score: tf.Tensor, group: tf.Tensor, num_groups: tf.Tensor) -> Boxes:
    """The boxes of scores, float64 `(rows,)`, in groups."""
    low = tf.reduce_min(score)
    shifted = score - low

    def one_segment() -> tuple[tf.Tensor, ...]:
        block_segment = tf.zeros((num_groups,), tf.float64)
        return tf.range(num_groups), block_segment, group, *in_parts(shifted)

    def many_segments() -> tuple[tf.Tensor, ...]:
        segment = tf.floor(shifted * (1.0 / SEGMENT))
        block_group, block_segment, block = _blocks(group, segment)
        # Of a score beyond 2**53 segments not even the segment is known; what is left of
        # it is kept in the segment.
        local = tf.clip_by_value(shifted - segment * SEGMENT, 0.0, SEGMENT)
        return block_group, block_segment, block, *in_parts(local)

    near = tf.reduce_max(score) - low < SEGMENT
    block_group, block_segment, block, part, place = tf.cond(near, one_segment, many_segments)
    number = tf.reduce_max(part) // PARTS + 1
    return Boxes(block_group, block_segment, block, part, place, number)


def place_powers(boxes: Boxes, terms: int) -> list[tf.Tensor]:
    """Each row's place in its part to the powers from 1 to `terms - 1`."""
    powers = [boxes.place]
    while len(powers) < terms - 1:
        powers.append(powers[-1] * boxes.place)
    return powers


def node_weights(moments: list[tf.Tensor], nodes: int) -> tf.Tensor:
    """The weight of each node, `(boxes, nodes)`.

    Args:
        moments: For each part of a box the sums of its rows' weights times each power.
        nodes: Nodes a box.
    """
    matrices = nodes_by_terms(nodes, len(moments))
    by_box = [tf.reshape(moment, (-1, PARTS)) for moment in moments]
    return tf.add_n([tf.matmul(m, c) for m, c in zip(by_box, matrices, strict=True)])


def at_rows(by_node: tf.Tensor, place: tf.Tensor, index: tf.Tensor, terms: int) -> tf.Tensor:
    """A function given at the nodes, `(boxes, nodes)`, at rows of a place in parts `index`."""
    matrices = nodes_by_terms(by_node.shape[1], terms)
    # Term by term: terms side by side would be taken apart again, which costs more.
    *others, value = (
        take(tf.reshape(tf.matmul(by_node, matrix, transpose_b=True), (-1,)), index)
        for matrix in matrices
    )
    for coefficient in reversed(others):
        value = value * place + coefficient
    return value


def node_places(nodes: int, number: tf.Tensor) -> tf.Tensor:
    """Where the nodes of the first `number` boxes of a segment lie, `(number * nodes,)`."""
    begin = WIDTH * tf.cast(tf.range(number), tf.float64)
    return tf.reshape(begin[:, None] + node_places_in_box(nodes), (-1,))


def node_places_in_box(nodes: int) -> np.ndarray:
    """Where the nodes of a box lie, from where it begins."""
    return 0.5 * WIDTH * (1.0 + _chebyshev_nodes(nodes))


def in_parts(local: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The part of a segment, and the place in it, of scores measured from where it begins."""
    scaled = local * (PARTS / WIDTH)
    part = tf.minimum(tf.cast(scaled, tf.int32), PARTS * BOXES - 1)
    return part, (scaled - 0.5) - tf.cast(part, tf.float64)


def nodes_by_terms(nodes: int, terms: int) -> np.ndarray:
    """`C` with `L_p = sum_k C[k, part, p] place**k` in each part of a box."""
    place = 0.5 * _chebyshev_nodes(terms)
    in_box = 2.0 * (np.arange(PARTS)[:, None] + 0.5 + place) / PARTS - 1.0
    k = np.arange(nodes)
    to_values = np.cos(k * np.arccos(_chebyshev_nodes(nodes))[:, None])
    lagrange = np.cos(np.arccos(in_box)[..., None] * k) @ np.linalg.inv(to_values)
    powers = place[:, None] ** np.arange(terms)
    return np.swapaxes(np.linalg.inv(powers) @ lagrange, 0, 1)


def _chebyshev_nodes(nodes: int) -> np.ndarray:
    return np.cos(np.pi * (np.arange(nodes) + 0.5) / nodes)


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
