"""Kernels from node to node, as constants.

Nodes lie at the same places in every box, so `phi(z_p - z_q)` depends on the two nodes'
places in their boxes and on how many boxes lie between: a table of a few hundred entries
for each pair of places, computed once in NumPy. No `exp` is left to be done for a batch.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from .boxes import BOXES, WIDTH, node_places_in_box

KERNELS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "softplus(-d)": lambda d: np.logaddexp(0.0, -d),
    "sigmoid(-d)": lambda d: np.exp(-np.logaddexp(0.0, d)),
    "sigmoid(d)": lambda d: np.exp(-np.logaddexp(0.0, -d)),
    "log(2 cosh(d/2))": lambda d: np.logaddexp(0.5 * d, -0.5 * d),
    "tanh(d/2)": lambda d: np.tanh(0.5 * d),
}


def apply_kernel(name: str, values: tf.Tensor, nodes: int, *, shift: int = 0) -> tf.Tensor:
    """`sum_q phi(z_p - z_q) values_q` at all nodes `p`, of the shape of `values`.

    Args:
        name: A key of `KERNELS`.
        values: One value a node, `(blocks, levels, boxes * nodes)`.
        nodes: Nodes a box.
        shift: How many segments the nodes `p` lie above the nodes `q`: -1, 0 or 1.
    """
    shape = tf.shape(values)
    number = shape[2] // nodes
    box = tf.range(number)
    apart = box[None, :] - box[:, None] + ((shift + 2) * BOXES - 1)
    # (from box, to box, from node, to node)
    entries = tf.gather(_table(name, nodes), apart)
    matrix = tf.reshape(tf.transpose(entries, (0, 2, 1, 3)), (shape[2], shape[2]))
    return tf.reshape(tf.matmul(tf.reshape(values, (-1, shape[2])), matrix), shape)


@functools.cache
def _table(name: str, nodes: int) -> np.ndarray:
    """`(boxes apart, from node, to node)`, from `1 - 2 * BOXES` boxes apart on."""
    boxes = np.arange(1 - 2 * BOXES, 2 * BOXES)
    place = node_places_in_box(nodes)
    return KERNELS[name](WIDTH * boxes[:, None, None] + place[None, :] - place[:, None])
