"""Similarities and distances of vectors, and sums over pairs of them."""

from __future__ import annotations

from typing import Literal

import tensorflow as tf

Distance = Literal["cosine", "euclidean", "squared_euclidean"]
Similarity = Literal["cosine", "dot", "squared_euclidean"]


def unit(vectors: tf.Tensor) -> tf.Tensor:
    """Vectors of length 1 along the last axis; a 0 vector stays, with a gradient of 0."""
    # The direction does not depend on the scale, so the scale needs no gradient.
    scale = tf.stop_gradient(tf.reduce_max(tf.abs(vectors), -1, keepdims=True))
    scaled = vectors / tf.where(scale == 0, tf.ones_like(scale), scale)
    square = tf.reduce_sum(scaled * scaled, -1, keepdims=True)
    length = tf.sqrt(tf.where(scale == 0, tf.ones_like(square), square))
    return tf.where(scale == 0, tf.zeros_like(vectors), scaled / length)


def products(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Products of each row of `a` with each row of `b`."""
    return tf.matmul(a, b, transpose_b=True)


def factors(
    similarity: Similarity, anchors: tf.Tensor, *candidates: tf.Tensor
) -> list[tf.Tensor]:
    """Vectors of anchors and candidates whose products are their similarities.

    Minus a squared distance lacks the square of its anchor, which no softmax over candidates
    sees; it is taken in float64, from the mean of the first candidates.
    """
    if similarity == "cosine":
        return [unit(vectors) for vectors in (anchors, *candidates)]
    if similarity == "dot":
        return [anchors, *candidates]
    middle = tf.stop_gradient(tf.reduce_mean(tf.cast(candidates[0], tf.float64), 0))
    moved = [tf.cast(vectors, tf.float64) - middle for vectors in (anchors, *candidates)]
    left = tf.concat([2 * moved[0], -tf.ones_like(moved[0][:, :1])], 1)
    squares = [tf.reduce_sum(each * each, -1, keepdims=True) for each in moved[1:]]
    return [left, *(tf.concat(pair, -1) for pair in zip(moved[1:], squares, strict=True))]


def comparable(values: tf.Tensor, distance: Distance) -> tf.Tensor:
    """What `distances` takes of the rows of a batch, float64."""
    values = tf.cast(values, tf.float64)
    if distance == "cosine":
        return unit(values)
    return values - tf.stop_gradient(tf.reduce_mean(values, 0))  # a shift moves no distance


def distances(a: tf.Tensor, b: tf.Tensor, distance: Distance) -> tf.Tensor:
    """The distances of each row of `a` from each row of `b`, float64.

    Squared distances are differences of products: their absolute error is a few 1e-16 of
    the largest squared distance from the mean.
    """
    if distance == "cosine":
        return 1.0 - products(a, b)
    square_a, square_b = (tf.reduce_sum(values * values, 1) for values in (a, b))
    squared = tf.nn.relu(square_a[:, None] + square_b - 2 * products(a, b))
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


def _exponentials(logits: tf.Tensor, kept: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The largest kept logit of a row, `exp(logits - largest)` of those kept, and their sum."""
    infinity = tf.constant(float("inf"), logits.dtype)
    high = tf.reduce_max(tf.where(kept, logits, -infinity), 1, keepdims=True)
    high = tf.where(high == -infinity, tf.zeros_like(high), high)
    share = tf.where(kept, tf.exp(logits - high), tf.zeros_like(logits))
    return high, share, tf.reduce_sum(share, 1, keepdims=True)


def softmax_losses(
    logits: tf.Tensor, competing: tf.Tensor, positives: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The mean over a row's positives of `-log(exp(z_p) / sum(exp(z)))`; 0 without any.

    Args:
        logits: Shape `(anchors, rows)`.
        competing: Whose exponentials are summed, bool, of that shape.
        positives: The positives, each of which competes.

    Returns:
        The losses, the numbers of positives, and the slopes of losses by logits.
    """
    high, share, total = _exponentials(logits, competing)
    positive = tf.cast(positives, logits.dtype)
    number = tf.reduce_sum(positive, 1, keepdims=True)
    each = tf.math.divide_no_nan(tf.ones_like(number), number)
    log_total = tf.math.log(tf.where(total == 0, tf.ones_like(total), total)) + high
    losses = tf.reduce_sum(tf.math.multiply_no_nan(log_total - logits, positive), 1) * each[:, 0]
    slopes = share * tf.math.divide_no_nan(number * each, total) - positive * each
    return losses, number[:, 0], slopes


def losses_against_negatives(
    logits: tf.Tensor, negatives: tf.Tensor, positives: tf.Tensor, *, decoupled: bool
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The mean over a row's positives of `-log(exp(z_p) / (exp(z_p) + sum_n exp(z_n)))`.

    Args:
        logits: Shape `(anchors, columns)`.
        negatives: Whose exponentials are summed, bool, of that shape.
        positives: The positives, bool, of that shape; none in a row without negatives.
        decoupled: Whether the sum is of the negatives alone.

    Returns:
        The losses, the numbers of positives, and the slopes of losses by logits.
    """
    high, share, total = _exponentials(logits, negatives)
    gap = tf.math.log(tf.where(total == 0, tf.ones_like(total), total)) + high - logits
    positive = tf.cast(positives, logits.dtype)
    number = tf.reduce_sum(positive, 1, keepdims=True)
    part = positive * tf.math.divide_no_nan(tf.ones_like(number), number)
    loss, slope = (
        (gap, tf.ones_like(gap)) if decoupled else (tf.math.softplus(gap), tf.sigmoid(gap))
    )
    losses = tf.reduce_sum(tf.math.multiply_no_nan(loss, part), 1)
    pull = tf.math.multiply_no_nan(slope, part)
    pushed = tf.math.divide_no_nan(tf.reduce_sum(pull, 1, keepdims=True), total)
    return losses, number[:, 0], share * pushed - pull
