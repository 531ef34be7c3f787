"""Triplet loss of given triplets: an anchor, its positive and its negative."""

from __future__ import annotations

from typing import Literal

import tensorflow as tf

from keras_trainsteps import replicas
from keras_trainsteps.losses.embeddings.batch import mask_and_weight, matrix, require_same_form
from keras_trainsteps.losses.embeddings.geometry import Distance, root, unit
from keras_trainsteps.queries import owned_term
from keras_trainsteps.step.terms import LossTerm
from keras_trainsteps.validation import TensorLike, require_choice, require_positive

Normalize = Literal["triplets", "active"]
MARGIN = 0.1


def triplet(
    anchor: TensorLike,
    positive: TensorLike,
    negative: TensorLike,
    *,
    distance: Distance = "cosine",
    margin: float | None = None,
    soft_margin: bool = False,
    mask: TensorLike | None = None,
    sample_weight: TensorLike | None = None,
    normalize: Normalize = "triplets",
) -> LossTerm:
    """Triplet loss of rows that come as triplets.

    For matching, as of questions with a right and a wrong answer: the right one must be
    nearer by a margin; how near does not matter.

    ```
    loss(triplet) = max(0, d(anchor, positive) - d(anchor, negative) + margin)
    loss(triplet) = log(1 + exp(d(anchor, positive) - d(anchor, negative)))    # soft margin
    ```

    with `d = 1 - cos` (`"cosine"`), `|a - b|` (`"euclidean"`) or `|a - b| ** 2`
    (`"squared_euclidean"`). With cosines the first is
    `max(0, margin + cos(q, wrong) - cos(q, right))`. A vector of zeros has a cosine of 0
    with everything.

    Args:
        anchor: Embeddings, float, shape `(rows, dimensions)`. Narrower than float32 is
            computed in float32.
        positive: Embeddings of that shape: row i belongs to row i of `anchor`.
        negative: Embeddings of that shape: row i does not belong to row i of `anchor`.
        distance: `"cosine"` (default), `"euclidean"` or `"squared_euclidean"`.
        margin: How much nearer the positive must be, in units of the distance, above 0.
            Default 0.1, which suits cosines.
        soft_margin: Whether to use the smooth form, which has no margin.
        mask: Bool, shape `(rows,)`; triplets where it is `False` are ignored. Default: all count.
        sample_weight: One weight per triplet, shape `(rows,)`. Default: 1.
        normalize: `"triplets"` (default, since its value does not jump as triplets are
            solved): the weights of the triplets. `"active"`: those of a loss above 0, as
            PyTorch Metric Learning divides.

    Returns:
        A `LossTerm`.

    Raises:
        ValueError: For shapes that do not fit, an unknown option, a margin that is not
            positive or comes with `soft_margin`, and, except under XLA, for weights that
            are NaN or negative.

    Example:

    >>> term = triplet([[1.0, 0.0]], [[0.0, 1.0]], [[1.0, 0.0]])
    >>> round(float(term.total), 4)  # 0.1 + 1 - 0
    1.1

    Reference:
        Schroff, Kalenichenko and Philbin, "FaceNet: A Unified Embedding for Face
        Recognition and Clustering", 2015; soft margin: Hermans, Beyer and Leibe, "In
        Defense of the Triplet Loss for Person Re-Identification", 2017.
    """
    require_choice("distance", distance, Distance)
    require_choice("normalize", normalize, Normalize)
    margin = as_margin(margin, soft_margin)
    named = {"anchor": anchor, "positive": positive, "negative": negative}
    named = {name: matrix(name, value) for name, value in named.items()}
    for name, value in named.items():
        require_same_form(name, value, "anchor", named["anchor"])
    valid, weight = mask_and_weight(named["anchor"], mask, sample_weight)
    a, p, n = (tf.where(valid[:, None], value, tf.zeros_like(value)) for value in named.values())
    losses = gap_loss(_distance(a, p, distance) - _distance(a, n, distance), margin)
    losses = tf.where(valid, losses, tf.zeros_like(losses))
    count = weight
    if normalize == "active":
        count = tf.where(losses != 0, weight, tf.zeros_like(weight))
    totals = weight * tf.cast(losses, tf.float64)
    # Of several replicas, which see no rows but their own, all must take their sums alike.
    alone = replicas.num_replicas() == 1
    return owned_term(totals, count, None, a.dtype, weighted=alone)


def as_margin(margin: float | None, soft_margin: bool) -> float | None:
    """The margin, or `None` for the soft one."""
    if soft_margin:
        if margin is not None:
            raise ValueError(
                "`margin` must be left out with `soft_margin=True`, which has none. "
                f"Received: margin={margin!r}."
            )
        return None
    margin = MARGIN if margin is None else margin
    require_positive("margin", margin)
    return margin


def gap_loss(gap: tf.Tensor, margin: float | None) -> tf.Tensor:
    """The loss of `d(anchor, positive) - d(anchor, negative)`."""
    return tf.math.softplus(gap) if margin is None else tf.nn.relu(gap + margin)


def _distance(a: tf.Tensor, b: tf.Tensor, distance: Distance) -> tf.Tensor:
    if distance == "cosine":
        return 1 - tf.reduce_sum(unit(a) * unit(b), -1)
    squared = tf.reduce_sum(tf.math.squared_difference(a, b), -1)
    return squared if distance == "squared_euclidean" else root(squared)
