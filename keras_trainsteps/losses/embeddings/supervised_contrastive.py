"""Softmax over a batch's other rows, found by label or by view."""

from __future__ import annotations

import functools

import tensorflow as tf

from keras_trainsteps import replicas
from keras_trainsteps.losses.embeddings.anchors import Anchors, of_products, term_of_anchors
from keras_trainsteps.losses.embeddings.batch import (
    as_labels,
    as_rows,
    embeddings,
    gather_embeddings,
    mask_and_weight,
    matrix,
    require_same_form,
)
from keras_trainsteps.losses.embeddings.geometry import (
    Similarity,
    factors,
    losses_against_negatives,
    softmax_losses,
    unit,
)
from keras_trainsteps.losses.embeddings.given_negatives import ids_of
from keras_trainsteps.step.terms import LossTerm
from keras_trainsteps.validation import TensorLike, require_choice, require_positive


def supervised_contrastive(
    y_true: TensorLike,
    y_pred: TensorLike,
    *,
    temperature: TensorLike = 0.1,
    mask: TensorLike | None = None,
    sample_weight: TensorLike | None = None,
) -> LossTerm:
    """Softmax over the batch with all rows of the anchor's label as positives (SupCon).

    For labelled examples, two views or several rows per label in each batch. Memory is
    linear in the rows, time quadratic.

    ```
    loss(i) = -mean_p log(exp(S_ip / temperature) / sum_{j != i} exp(S_ij / temperature))
    ```

    with cosines `S` and the positives `p` of `i` (the paper's `L_out`; the authors' code
    also multiplies by `temperature / 0.07`).

    Args:
        y_true: Labels, integers or strings, shape `(rows,)` or `(rows, 1)`. Whole numbers
            in float32 and float64 are taken too, since Keras casts targets.
        y_pred: Embeddings, shape `(rows, dimensions)`. Narrower than float32 is computed
            in float32.
        temperature: Divides the cosines, above 0; a scalar tensor can be trained.
            Default 0.1, the paper's.
        mask: Bool, shape `(rows,)`; rows where it is `False` are ignored. Default: all count.
        sample_weight: One weight per row, which it has as an anchor. Default: 1.

    Returns:
        A `LossTerm`. Its count is the weight of the anchors with a positive, as in PyTorch
        Metric Learning.

    Raises:
        TypeError: For labels that are neither integers, strings nor whole numbers.
        ValueError: For shapes that do not fit, a temperature that is not positive, and,
            except under XLA, for NaN labels and for weights that are NaN or negative.
        NotImplementedError: For a second derivative (its gradient is written by hand).

    Example:

    >>> term = supervised_contrastive(["a", "a", "b"], [[1.0], [1.0], [1.0]])
    >>> round(float(term.value), 4), float(term.count)  # log 2; "b" has no positive
    (0.6931, 2.0)

    Reference:
        Khosla et al., "Supervised Contrastive Learning", 2020.
    """
    require_positive("temperature", temperature)
    batch = embeddings(y_true, y_pred, mask=mask, sample_weight=sample_weight)
    units = unit(batch.values)
    left = batch.tempered(units, temperature)
    return term_of_anchors(batch, of_products(_of_anchors), [left], [units])


def _of_anchors(anchors: Anchors, logits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    others = anchors.others()
    losses, number, slopes = softmax_losses(logits, others, others & anchors.of_label())
    return losses, tf.cast(number != 0, number.dtype), slopes


def nt_xent(
    first: TensorLike,
    second: TensorLike,
    *,
    temperature: TensorLike = 0.1,
    similarity: Similarity = "cosine",
    decoupled: bool = False,
    positives_by: TensorLike | None = None,
    mask: TensorLike | None = None,
    sample_weight: TensorLike | None = None,
) -> LossTerm:
    """Normalised, temperature-scaled cross-entropy of two views of each example (SimCLR).

    For self-supervision: row i of one view must find row i of the other among all other
    rows of both. Memory is linear in the rows, time quadratic.

    ```
    loss(i) = mean_{p in P(i)} -log(exp(z_ip) / (exp(z_ip) + sum_{n in N(i)} exp(z_in)))
    z_ij = sim(x_i, x_j) / temperature
    ```

    over the `2 * rows` anchors `i`, with the other view of the same example as the one
    positive unless `positives_by` tells more, and all views of other examples (of other
    classes) as negatives `N(i)`.

    Args:
        first: Embeddings of one view, shape `(rows, dimensions)`. Narrower than float32 is
            computed in float32.
        second: Embeddings of the other view, of that shape.
        temperature: Divides the similarities, above 0; a scalar tensor can be trained.
            Default 0.1, SimCLR's on ImageNet (0.5 on CIFAR-10).
        similarity: `"cosine"` (default), `"dot"`, or `"squared_euclidean"`: minus the squared
            distance, computed in float64.
        decoupled: Whether `exp(z_ip)` is left out of the sum, so that the pull of a positive
            does not fade as it becomes likely; the loss may be negative. Default: not.
        positives_by: Ids of the examples, as of classes, integers or strings, shape `(rows,)`.
            All other views of the examples of one id are positives, and none is a negative.
            `supervised_contrastive` lets the other positives compete, too. Default: an
            example has its own views alone.
        mask: Bool, shape `(rows,)`; examples where it is `False` are ignored. Default: all count.
        sample_weight: One weight per example, shape `(rows,)`. Default: 1.

    Returns:
        A `LossTerm`; each example counts twice, as its two views; with `decoupled` or
        `positives_by` where it has a negative. The mean is over anchors; PyTorch Metric
        Learning's is over pairs, which is the same where all have equally many positives.

    Raises:
        TypeError: For ids that are neither integers, strings nor whole numbers.
        ValueError: For shapes that do not fit, an unknown option, a temperature that is not
            positive, and, except under XLA, for NaN ids and for weights that are NaN or
            negative.
        NotImplementedError: For a second derivative (its gradient is written by hand).

    Example:

    >>> same = [[1.0], [1.0]]
    >>> term = nt_xent(same, same)
    >>> round(float(term.value), 4), float(term.count)  # log 3
    (1.0986, 4.0)
    >>> term = nt_xent(same, same, decoupled=True)
    >>> round(float(term.value), 4)  # log 2: the positive does not compete
    0.6931

    Reference:
        Chen et al., "A Simple Framework for Contrastive Learning of Visual
        Representations", 2020; decoupled: Yeh et al., "Decoupled Contrastive Learning", 2022.
    """
    require_choice("similarity", similarity, Similarity)
    require_positive("temperature", temperature)
    one, two = matrix("first", first), matrix("second", second)
    require_same_form("second", two, "first", one)
    valid, weight = mask_and_weight(one, mask, sample_weight)
    rows = tf.shape(one)[0]
    example = tf.range(rows) + replicas.first_own_row(rows)
    if positives_by is not None:
        name = "positives_by"
        example = ids_of(name, as_rows(name, as_labels(name, positives_by), one), valid)
    labels, valid, weight = (tf.concat([each, each], 0) for each in (example, valid, weight))
    batch = gather_embeddings(tf.concat([one, two], 0), labels, valid, weight)
    left, right = factors(similarity, batch.values, batch.values)
    loss = _of_anchors
    if decoupled or positives_by is not None:
        loss = _decoupled if decoupled else _of_negatives
    return term_of_anchors(batch, of_products(loss), [batch.tempered(left, temperature)], [right])


def _of_negatives(
    anchors: Anchors, logits: tf.Tensor, decoupled: bool = False
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    negatives = anchors.negatives()
    positives = anchors.positives() & tf.reduce_any(negatives, 1, keepdims=True)
    losses, number, slopes = losses_against_negatives(
        logits, negatives, positives, decoupled=decoupled
    )
    return losses, tf.cast(number != 0, number.dtype), slopes


_decoupled = functools.partial(_of_negatives, decoupled=True)
