"""Cosines and distances of vectors, and sums over pairs of them."""

from __future__ import annotations

from typing import Literal

import tensorflow as tf

Distance = Literal["cosine", "euclidean", "squared_euclidean"]


def unit(vectors: tf.Tensor) -> tf.Tensor:
    """Vectors of length 1 along the last axis; a 0 vector stays, with a gradient of 0."""
    # The direction does not depend on the scale, so the scale needs no gradient.
    scale = tf.stop_gradient(tf.reduce_max(tf.abs(vectors), -1, keepdims=True))
    scaled = vectors / tf.where(scale == 0, tf.ones_like(scale), scale)
    square = tf.reduce_sum(scaled * scaled, -1, keepdims=True)
    length = tf.sqrt(tf.where(scale == 0, tf.ones_like(square), square))
    return tf.where(scale == 0, tf.zeros_like(vectors), scaled / length)


def similarities(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Cosines of each row of `a` with each row of `b`."""
    return tf.matmul(unit(a), unit(b), transpose_b=True)


def pairwise_distances(values: tf.Tensor, distance: Distance) -> tf.Tensor:
    """The distances of all pairs of rows, float64, shape `(rows, rows)`.

    Squared distances are differences of products: their absolute error is a few 1e-16 of
    the largest squared distance from the mean.
    """
    values = tf.cast(values, tf.float64)
    if distance == "cosine":
        return 1.0 - similarities(values, values)
    values -= tf.stop_gradient(tf.reduce_mean(values, 0))  # a shift moves no distance
    square = tf.reduce_sum(values * values, 1)
    product = tf.matmul(values, values, transpose_b=True)
    squared = tf.nn.relu(square[:, None] + square[None, :] - 2 * product)
    return squared if distance == "squared_euclidean" else root(squared)


def root(squared: tf.Tensor) -> tf.Tensor:
    """The square root, with a gradient of 0 at 0."""
    safe = tf.where(squared == 0, tf.ones_like(squared), squared)
    return tf.where(squared == 0, tf.zeros_like(squared), tf.sqrt(safe))


def row_sum(values: tf.Tensor, pairs: tf.Tensor) -> tf.Tensor:
    """The sum of each row's values over its `pairs`."""
    return tf.reduce_sum(tf.where(pairs, values, tf.zeros_like(values)), 1)


def count(pairs: tf.Tensor) -> tf.Tensor:
    """The number of `pairs` of each row, float64."""
    return tf.reduce_sum(tf.cast(pairs, tf.float64), 1)


def log_sum_exp(logits: tf.Tensor, pairs: tf.Tensor) -> tf.Tensor:
    """Each row's log-sum-exp over its `pairs`; minus infinity becomes 0 where none."""
    some = tf.reduce_any(pairs, 1)
    pairs |= ~some[:, None]
    logits = tf.where(some[:, None], logits, tf.zeros_like(logits))
    return tf.reduce_logsumexp(
        tf.where(pairs, logits, tf.constant(-float("inf"), logits.dtype)), 1
    )
