"""Softmax over a batch's own candidates, found by row."""

from __future__ import annotations

from typing import Any, Literal

import tensorflow as tf

from keras_trainsteps import replicas
from keras_trainsteps.losses.embeddings.anchors import Anchors, of_products, term_of_anchors
from keras_trainsteps.losses.embeddings.batch import (
    as_labels,
    as_rows,
    gather_embeddings,
    mask_and_weight,
    matrix,
    require_same_form,
)
from keras_trainsteps.losses.embeddings.geometry import softmax_losses, unit
from keras_trainsteps.step.terms import LossTerm
from keras_trainsteps.validation import (
    TensorLike,
    as_float,
    refuse,
    require_choice,
    require_positive,
)

Similarity = Literal["cosine", "dot"]


def info_nce(
    anchor: TensorLike,
    positive: TensorLike,
    *,
    temperature: TensorLike = 0.1,
    similarity: Similarity = "cosine",
    ids: TensorLike | None = None,
    sampling_probability: TensorLike | None = None,
    mask: TensorLike | None = None,
    sample_weight: TensorLike | None = None,
) -> LossTerm:
    """Softmax over in-batch candidates (InfoNCE): row i of `positive` belongs to anchor i.

    For retrieval with pairs of a query and its item: the other rows' items are the
    negatives. Memory is linear in the rows, time quadratic. Both directions, as in CLIP, are
    `info_nce(a, b) + info_nce(b, a)`.

    ```
    loss(i) = -log(exp(z_ii) / sum_j exp(z_ij))
    z_ij = sim(a_i, p_j) / temperature - log q_j
    ```

    Args:
        anchor: Embeddings, float, shape `(rows, dimensions)`. Narrower than float32 is
            computed in float32.
        positive: Embeddings of that shape: the candidates.
        temperature: Divides the similarities, above 0; a scalar tensor can be trained.
            Default 0.1. TensorFlow Recommenders' default is 1, of dot products.
        similarity: `"cosine"` (default) or `"dot"`.
        ids: Ids of the candidates, integers or strings, shape `(rows,)`. A candidate with
            the id of the anchor's own is an accidental hit and no negative. Default: all
            candidates differ.
        sampling_probability: `q`: how likely a batch holds each candidate, in (0, 1],
            shape `(rows,)`; corrects for popular items being negatives more often.
            Default: 1.
        mask: Bool, shape `(rows,)`; `False` rows are neither anchors nor candidates.
            Default: all are.
        sample_weight: One weight per anchor, shape `(rows,)`. Default: 1.

    Returns:
        A `LossTerm`. Its count is the weight of the anchors that have a negative, since
        without one the loss is 0 whatever the embeddings; other libraries count every row.

    Raises:
        TypeError: For ids that are neither integers nor strings.
        ValueError: For shapes that do not fit, an unknown option, a temperature that is
            not positive, and, except under XLA, for a probability that is not in (0, 1]
            and for weights that are NaN or negative.
        NotImplementedError: For a second derivative (its gradient is written by hand).

    Example:

    >>> same = [[1.0, 0.0], [1.0, 0.0]]
    >>> term = info_nce(same, same)
    >>> round(float(term.value), 4)  # log 2
    0.6931

    Reference:
        van den Oord, Li and Vinyals, "Representation Learning with Contrastive Predictive
        Coding", 2018; correction: Yi et al., "Sampling-Bias-Corrected Neural Modeling for
        Large Corpus Item Recommendations", 2019.
    """
    require_choice("similarity", similarity, Similarity)
    require_positive("temperature", temperature)
    anchors, candidates = matrix("anchor", anchor), matrix("positive", positive)
    require_same_form("positive", candidates, "anchor", anchors)
    valid, weight = mask_and_weight(anchors, mask, sample_weight)
    rows = tf.shape(anchors)[0]
    row = tf.range(rows, dtype=tf.int64) + tf.cast(replicas.first_own_row(rows), tf.int64)
    labels = row if ids is None else as_rows("ids", as_labels("ids", ids), anchors)
    batch = gather_embeddings(tf.concat([anchors, candidates], 1), labels, valid, weight)
    left, right = tf.split(batch.values, 2, axis=1)
    if similarity == "cosine":
        left, right = unit(left), unit(right)
    left = batch.tempered(left, temperature)
    if sampling_probability is not None:  # one dimension more of the products
        log_probability = _log_probability(sampling_probability, anchors, valid)[:, None]
        left = tf.concat([left, -tf.ones_like(log_probability)], 1)
        right = tf.concat([right, log_probability], 1)
    return term_of_anchors(batch, of_products(_of_anchors), [left], [right])


def _of_anchors(anchors: Anchors, logits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    negatives = anchors.negatives()
    usable = anchors.valid & tf.reduce_any(negatives, 1)
    positives = anchors.themselves() & usable[:, None]
    losses, number, slopes = softmax_losses(logits, negatives | positives, positives)
    return losses, number, slopes


def _log_probability(value: Any, anchors: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
    given = as_float("sampling_probability", value, anchors.dtype)
    given = as_rows("sampling_probability", given, anchors)
    given = tf.where(valid, given, tf.ones_like(given))
    broken = ~((given > 0) & (given <= 1))
    rule, way_out = "`sampling_probability` must be in (0, 1]", "Leave rows out with `mask`."
    given = refuse(given, broken, "probability", rule, way_out)
    return replicas.gather_rows(tf.math.log(given))
