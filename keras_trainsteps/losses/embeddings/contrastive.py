"""Losses of pairs of a batch by label: positive pairs near, negative pairs far."""

from __future__ import annotations

from typing import Literal

import tensorflow as tf

from keras_trainsteps.losses.embeddings.anchors import Anchors, by_tape, term_of_anchors
from keras_trainsteps.losses.embeddings.batch import embeddings
from keras_trainsteps.losses.embeddings.geometry import (
    Distance,
    comparable,
    count,
    distances,
    row_sum,
)
from keras_trainsteps.step.terms import LossTerm
from keras_trainsteps.validation import (
    TensorLike,
    as_float,
    as_tensor,
    require_choice,
    require_plain,
    require_positive,
)

Normalize = Literal["pairs", "active"]


def contrastive(
    y_true: TensorLike,
    y_pred: TensorLike,
    *,
    distance: Distance = "euclidean",
    margin: float = 1.0,
    mask: TensorLike | None = None,
    sample_weight: TensorLike | None = None,
    normalize: Normalize = "pairs",
) -> LossTerm:
    """Contrastive loss of all pairs of a batch.

    For labelled examples: rows of one label should coincide, rows of different labels
    should be at least a margin apart. Computed in float64; memory is linear in the rows, time
    quadratic.

    ```
    loss(i, j) = d(i, j) ** 2                    labels equal
    loss(i, j) = max(0, margin - d(i, j)) ** 2   labels different
    ```

    over all ordered pairs `i != j`. The paper halves both; TensorFlow Addons does not.

    Args:
        y_true: Labels, integers or strings, shape `(rows,)` or `(rows, 1)`. Whole numbers
            in float32 and float64 are taken too, since Keras casts targets.
        y_pred: Embeddings, shape `(rows, dimensions)`.
        distance: `"euclidean"` (default, the paper's), `"squared_euclidean"` or
            `"cosine"` (`1 - cos`).
        margin: How far apart rows of different labels must be, in units of the distance,
            above 0. Default 1.
        mask: Bool, shape `(rows,)`; rows where it is `False` are ignored. Default: all count.
        sample_weight: One weight per row, which its pairs `(i, j)` have as row i. Default: 1.
        normalize: `"pairs"` (default, since its value does not jump as pairs are solved):
            the weights of the ordered pairs. `"active"`: those of a loss above 0, close
            to PyTorch Metric Learning, which averages positive and negative pairs apart.

    Returns:
        A `LossTerm`; its count is 0 with fewer than two rows.

    Raises:
        TypeError: For labels that are neither integers, strings nor whole numbers, and for
            a margin that is a tensor.
        ValueError: For shapes that do not fit, an unknown option, a margin that is not
            positive, and, except under XLA, for NaN labels and for weights that are NaN
            or negative.
        NotImplementedError: For a second derivative (its gradient is written by hand).

    Example:

    >>> term = contrastive([0, 0, 1], [[0.0], [1.0], [1.5]])
    >>> float(term.total), float(term.count)  # twice 1 + 0 + 0.5 ** 2
    (2.5, 6.0)

    Reference:
        Hadsell, Chopra and LeCun, "Dimensionality Reduction by Learning an Invariant
        Mapping", 2006.
    """
    require_choice("distance", distance, Distance)
    require_plain(margin=margin)
    require_positive("margin", margin)
    require_choice("normalize", normalize, Normalize)
    batch = embeddings(y_true, y_pred, mask=mask, sample_weight=sample_weight)
    values = comparable(batch.values, distance)

    def losses(
        anchors: Anchors, some: tf.Tensor, every: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        apart = distances(some, every, distance)
        negative = tf.square(tf.nn.relu(margin - apart))
        of_pairs = tf.where(anchors.positives(), tf.square(apart), negative)
        return _sums(anchors, of_pairs, normalize)

    return term_of_anchors(batch, by_tape(losses), [values], [values])


def margin_loss(
    y_true: TensorLike,
    y_pred: TensorLike,
    *,
    beta: TensorLike,
    margin: float = 0.2,
    distance: Distance = "euclidean",
    mask: TensorLike | None = None,
    sample_weight: TensorLike | None = None,
    normalize: Normalize = "active",
) -> LossTerm:
    """Margin loss of all pairs of a batch, with a boundary that can be trained.

    For labelled examples when no fixed distance separates positive from negative pairs. The
    embeddings should have length 1. Computed in float64; memory is linear in the rows, time
    quadratic.

    ```
    loss(i, j) = max(0, margin + d(i, j) - beta_i)   labels equal
    loss(i, j) = max(0, margin - d(i, j) + beta_i)   labels different
    ```

    over all ordered pairs `i != j`. The paper samples negatives by distance and adds a
    multiple of `beta`; neither is done here: sample when batching, and add
    `nu * sum(beta)` to the loss.

    Args:
        y_true: Labels, integers or strings, shape `(rows,)` or `(rows, 1)`. Whole numbers
            in float32 and float64 are taken too, since Keras casts targets.
        y_pred: Embeddings, shape `(rows, dimensions)`.
        beta: The boundary, a number or tensor of shape `()`, or one per anchor, shape
            `(rows,)`: `tf.gather(boundaries, labels)` for one per class. To train it, make it a
            weight of the model, so that the model's optimizer sees it. The paper starts
            at 1.2.
        margin: Half the width of the strip around the boundary, above 0. Default 0.2, the
            paper's.
        distance: `"euclidean"` (default, the paper's), `"squared_euclidean"` or
            `"cosine"` (`1 - cos`).
        mask: Bool, shape `(rows,)`; rows where it is `False` are ignored. Default: all count.
        sample_weight: One weight per row, which its pairs `(i, j)` have as row i. Default: 1.
        normalize: `"active"` (default, as in the paper's code and in PyTorch Metric
            Learning): the weights of the pairs of a loss above 0. `"pairs"`: of all pairs.

    Returns:
        A `LossTerm`; its count is 0 with fewer than two rows.

    Raises:
        TypeError: For labels that are neither integers, strings nor whole numbers, and for
            a margin that is a tensor.
        ValueError: As for `contrastive`, and for a `beta` of another shape.
        NotImplementedError: For a second derivative (its gradient is written by hand).

    Example:

    >>> term = margin_loss([0, 0, 1], [[0.0], [1.0], [1.5]], beta=1.0, normalize="pairs")
    >>> round(float(term.total), 4)  # twice 0.2 + 0 + 0.7
    1.8

    Reference:
        Wu, Manmatha, Smola and Krähenbühl, "Sampling Matters in Deep Embedding Learning",
        2017.
    """
    require_choice("distance", distance, Distance)
    require_plain(margin=margin)
    require_positive("margin", margin)
    beta = as_float("beta", beta, tf.float64)
    rows = as_tensor("y_pred", y_pred).shape[:1]
    if beta.shape.rank != 0 and not (
        beta.shape.rank == 1 and beta.shape.is_compatible_with(rows)
    ):
        raise ValueError(
            "`beta` must be one number, or one per anchor, shape (rows,). "
            f"Received: shape {tuple(beta.shape)} for {rows[0]} rows. "
            "For one per class pass `tf.gather(boundaries, labels)`."
        )
    require_choice("normalize", normalize, Normalize)
    batch = embeddings(y_true, y_pred, mask=mask, sample_weight=sample_weight)
    boundary = batch.own_rows(beta)[:, None]
    values = comparable(batch.values, distance)

    def losses(
        anchors: Anchors, some: tf.Tensor, boundary: tf.Tensor, every: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        beyond = distances(some, every, distance) - boundary
        of_pairs = tf.nn.relu(margin + tf.where(anchors.positives(), beyond, -beyond))
        return _sums(anchors, of_pairs, normalize)

    return term_of_anchors(batch, by_tape(losses), [values, boundary], [values])


def _sums(
    anchors: Anchors, losses: tf.Tensor, normalize: Normalize
) -> tuple[tf.Tensor, tf.Tensor]:
    pairs = anchors.others()
    counted = pairs if normalize == "pairs" else pairs & (losses != 0)
    return row_sum(losses, pairs), count(counted)
