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
    "sigmoid(d) sigmoid(-d)": lambda d: np.exp(-np.logaddexp(0.0, d) - np.logaddexp(0.0, -d)),
    "log(2 cosh(d/2))": lambda d: np.logaddexp(0.5 * d, -0.5 * d),
    "tanh(d/2)": lambda d: np.tanh(0.5 * d),
}


def kernel_matrices(
    names: tuple[str, ...], number: tf.Tensor, nodes: int, shifts: tuple[int, ...]
) -> list[list[tf.Tensor]]:
    """For each shift and each name the matrix `phi(z_p - z_q)`, from node `q` to node `p`.

    Args:
        names: Keys of `KERNELS`.
        number: How many boxes of a segment are in use.
        nodes: Nodes a box.
        shifts: How many segments the nodes `p` lie above the nodes `q`: -1, 0 or 1.
    """
    box = tf.range(number)
    apart = tf.expand_dims(box, 0) - tf.expand_dims(box, 1)
    first = np.array([(shift + 2) * BOXES - 1 for shift in shifts], np.int32)
    # (shift, from box, to box, name, from node, to node)
    entries = tf.gather(_tables(names, nodes), apart + first[:, None, None])
    entries = tf.transpose(entries, (0, 3, 1, 4, 2, 5))
    size = number * nodes
    matrices = tf.reshape(entries, tf.stack([len(shifts), len(names), size, size]))
    return [tf.unstack(of_shift) for of_shift in tf.unstack(matrices)]


@functools.cache
def constant_matrices(names: tuple[str, ...], boxes: int, nodes: int) -> list[np.ndarray]:
    """`kernel_matrices` within one segment, for a number of boxes that is known."""
    place = (WIDTH * np.arange(boxes)[:, None] + node_places_in_box(nodes)).ravel()
    return [KERNELS[name](place - place[:, None]) for name in names]


@functools.cache
def _tables(names: tuple[str, ...], nodes: int) -> np.ndarray:
    """`(boxes apart, name, from node, to node)`."""
    return np.stack([_table(name, nodes) for name in names], axis=1)


@functools.cache
def _table(name: str, nodes: int) -> np.ndarray:
    """`(boxes apart, from node, to node)`, from `1 - 2 * BOXES` boxes apart on."""
    boxes = np.arange(1 - 2 * BOXES, 2 * BOXES)
    place = node_places_in_box(nodes)
    return KERNELS[name](WIDTH * boxes[:, None, None] + place[None, :] - place[:, None])
