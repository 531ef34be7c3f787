"""Softmax over a batch's own candidates, found by row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
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
from keras_trainsteps.losses.embeddings.geometry import (
    Similarity,
    factors,
    losses_against_negatives,
    softmax_losses,
)
from keras_trainsteps.losses.embeddings.given_negatives import (
    KnownIds,
    Negatives,
    given_negatives,
    ids_of,
    log_of_count,
)
from keras_trainsteps.step.terms import LossTerm
from keras_trainsteps.validation import (
    TensorLike,
    as_float,
    refuse,
    require_choice,
    require_positive,
)


def info_nce(
    anchor: TensorLike,
    positive: TensorLike,
    *,
    temperature: TensorLike = 0.1,
    similarity: Similarity = "cosine",
    symmetric: bool = False,
    decoupled: bool = False,
    ids: TensorLike | None = None,
    positives_by: TensorLike | None = None,
    negatives: TensorLike | None = None,
    negative_ids: TensorLike | None = None,
    negative_mask: TensorLike | None = None,
    negative_expected_count: TensorLike | None = None,
    sampling_probability: TensorLike | None = None,
    expected_count: TensorLike | None = None,
    mask: TensorLike | None = None,
    sample_weight: TensorLike | None = None,
) -> LossTerm:
    """Softmax over in-batch candidates (InfoNCE): row i of `positive` belongs to anchor i.

    For retrieval with pairs of a query and its item: the other rows' items are the
    negatives. Memory is linear in the rows, time quadratic.

    ```
    loss(i) = mean_{p in P(i)} -log(exp(z_ip) / (exp(z_ip) + sum_{n in N(i)} exp(z_in)))
    z_ij = sim(a_i, p_j) / temperature - log q_j
    ```

    with the positives `P(i)`, which are row i alone unless `positives_by` tells more, and the
    negatives `N(i)`: all other candidates, but for those that `ids` or `positives_by` tell
    are none, and the given `negatives`.

    Args:
        anchor: Embeddings, float, shape `(rows, dimensions)`. Narrower than float32 is
            computed in float32.
        positive: Embeddings of that shape: the candidates.
        temperature: Divides the similarities, above 0; a scalar tensor can be trained.
            Default 0.1. TensorFlow Recommenders' default is 1, of dot products.
        similarity: `"cosine"` (default), `"dot"`, or `"squared_euclidean"`: minus the squared
            distance, computed in float64.
        symmetric: Whether each row of `positive` must also find its anchor among the anchors,
            as in CLIP: `info_nce(a, b) + info_nce(b, a)`, so the mean of both. The given
            `negatives` compete with `positive` alone. Default: one direction.
        decoupled: Whether `exp(z_ip)` is left out of the sum, so that the pull of a positive
            does not fade as it becomes likely; the loss may be negative. Default: not.
        ids: Ids of the candidates, as of items, integers or strings, shape `(rows,)`. A
            candidate with the id of a positive of the anchor is an accidental hit: no
            negative, and no positive either. Default: all candidates differ.
        positives_by: Ids of the anchors, as of queries, integers or strings, shape `(rows,)`.
            The candidates of all rows of one id are positives of each of these rows: each
            counts, and none is a negative. Default: each row has its own candidate alone.
        negatives: Hard negatives, embeddings: some for all anchors, shape `(K, dimensions)`,
            or some for each, `(rows, K, dimensions)`. On several replicas, a weight of the
            model, as a `Queue`, is taken as the same on all; the rows of any other pool are
            gathered, as those of a batch. Default: those of the batch alone.
        negative_ids: Ids of the `negatives`, comparable with `ids`, of their shape without
            dimensions: those with the id of a positive are accidental hits, too.
        negative_mask: Which `negatives` count, bool, of that shape. Default: all.
        negative_expected_count: `q` of the `negatives`, above 0, of that shape. Default: 1,
            which is right for those that are there whenever their anchor is.
        sampling_probability: `q`: how likely a batch holds each candidate, in (0, 1],
            shape `(rows,)`; corrects for popular items being negatives more often.
            Default: 1. See `losses.sampling_probability`.
        expected_count: The same `q`, as how often a batch holds each candidate, which may be
            more than once: above 0, shape `(rows,)`. See `losses.expected_count`.
        mask: Bool, shape `(rows,)`; `False` rows are neither anchors nor candidates.
            Default: all are.
        sample_weight: One weight per anchor, shape `(rows,)`. Default: 1.

    Returns:
        A `LossTerm`. Its count is the weight of the anchors that have a negative, since
        without one the loss is 0 whatever the embeddings; other libraries count every row.

    Raises:
        TypeError: For ids that are neither integers nor strings.
        ValueError: For shapes that do not fit, an unknown option, a temperature that is
            not positive, `negative_ids` without `negatives` or `ids`, both of, or,
            with `symmetric`, any of `sampling_probability` and `expected_count`, and, except
            under XLA, for a probability that is not in (0, 1], a count that is not above 0,
            NaN ids, and for weights that are NaN or negative.
        NotImplementedError: For a second derivative (its gradient is written by hand).

    Example:

    >>> same = [[1.0, 0.0], [1.0, 0.0]]
    >>> term = info_nce(same, same)
    >>> round(float(term.value), 4)  # log 2
    0.6931

    Earlier batches' candidates as negatives, from a `Queue`:

    >>> from keras_trainsteps import LossAwareModel, Queue
    >>> class Towers(LossAwareModel):
    ...     after_step = [Queue("seen", size=6, shape=(2,))]
    ...     def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
    ...         query, item = y_pred
    ...         self.pass_on("seen", item)
    ...         return {"match": info_nce(query, item, negatives=self.seen)}
    >>> inputs = [keras.Input((4,), name=name) for name in ("query", "item")]
    >>> model = Towers(inputs, [keras.layers.Dense(2)(each) for each in inputs])
    >>> model.compile("adam")
    >>> list(model.fit([np.eye(4), np.eye(4)], batch_size=2, verbose=0).history)
    ['loss', 'match']

    Reference:
        van den Oord, Li and Vinyals, "Representation Learning with Contrastive Predictive
        Coding", 2018; correction: Yi et al., "Sampling-Bias-Corrected Neural Modeling for
        Large Corpus Item Recommendations", 2019; several positives: Khosla et al.,
        "Supervised Contrastive Learning", 2020; decoupled: Yeh et al., "Decoupled Contrastive
        Learning", 2022; queue: He et al., "Momentum Contrast for Unsupervised Visual
        Representation Learning", 2020.
    """
    require_choice("similarity", similarity, Similarity)
    require_positive("temperature", temperature)
    _require_one_correction(symmetric, sampling_probability, expected_count)
    if negative_ids is not None and ids is None:
        raise ValueError(
            "`negative_ids` must come with `ids`, with which they are compared. Received: "
            "`ids=None`."
        )
    if negative_ids is not None:
        _require_one_kind(ids, negative_ids)
    anchors, candidates = matrix("anchor", anchor), matrix("positive", positive)
    require_same_form("positive", candidates, "anchor", anchors)
    valid, weight = mask_and_weight(anchors, mask, sample_weight)
    given = given_negatives(
        negatives, negative_ids, negative_mask, negative_expected_count, anchors, valid
    )
    rows = tf.shape(anchors)[0]
    row = tf.range(rows, dtype=tf.int64) + tf.cast(replicas.first_own_row(rows), tf.int64)
    item = None if ids is None else _ids("ids", ids, anchors, valid)
    query = None if positives_by is None else _ids("positives_by", positives_by, anchors, valid)
    labels = next(each for each in (query, item, row) if each is not None)
    batch = gather_embeddings(tf.concat([anchors, candidates], 1), labels, valid, weight)
    log_q = _log_q(sampling_probability, expected_count, anchors, valid)
    items = replicas.gather_rows(item) if item is not None and query is not None else None

    def one_way(left: tf.Tensor, right: tf.Tensor, given: Negatives | None) -> LossTerm:
        more = [] if given is None else [given.values]
        left, right, *more = factors(similarity, left, right, *more)
        left = batch.tempered(left, temperature)
        of_given = None if given is None else given.log_q
        if log_q is not None or of_given is not None:  # one dimension more of the products
            left = tf.concat([left, -tf.ones_like(left[:, :1])], 1)
            right = _with_column(right, log_q)
            more = [_with_column(each, of_given) for each in more]
        if given is not None and not given.by_row:
            right, more = tf.concat([right, *more], 0), []
        loss = _loss_of_anchors(query is not None, items, given, decoupled)
        return term_of_anchors(batch, of_products(loss), [left, *more], [right])

    left, right = tf.split(batch.values, 2, axis=1)
    term = one_way(left, right, given)
    return term + one_way(right, left, None) if symmetric else term


def _loss_of_anchors(
    several: bool, items: tf.Tensor | None, given: Negatives | None, decoupled: bool
) -> Callable[[Anchors, tf.Tensor], tuple[tf.Tensor, tf.Tensor, tf.Tensor]]:
    """The loss of some anchors; their labels are those of positives, if there are `several`."""
    known = None if items is None else KnownIds.of(items)

    def hits(anchors: Anchors, positives: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
        return anchors.label[:, None] == ids if known is None else known.held(positives, ids)

    def loss(anchors: Anchors, logits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        positives, negatives = anchors.themselves(), anchors.negatives()
        if several:
            positives |= anchors.positives()
        if items is not None:
            negatives &= ~hits(anchors, positives, items[None])
        if given is not None:
            more = given.of_anchors(given.valid, anchors) & anchors.valid[:, None]
            if given.ids is not None:
                more &= ~hits(anchors, positives, given.of_anchors(given.ids, anchors))
            negatives = tf.concat([negatives, more], 1)
            positives = tf.concat([positives, tf.zeros_like(more)], 1)
        positives &= tf.reduce_any(negatives, 1, keepdims=True)
        if several or decoupled:
            against = losses_against_negatives(logits, negatives, positives, decoupled=decoupled)
            losses, number, slopes = against
            return losses, tf.cast(number != 0, number.dtype), slopes
        return softmax_losses(logits, negatives | positives, positives)

    return loss


def _ids(name: str, ids: Any, anchors: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
    return ids_of(name, as_rows(name, as_labels(name, ids), anchors), valid)


def _require_one_kind(ids: Any, negative_ids: Any) -> None:
    """Refuses ids that could never be equal: texts and numbers, integers and floats."""
    kinds = [
        tf.as_dtype(getattr(each, "dtype", None) or np.asarray(each).dtype.type)
        for each in (ids, negative_ids)
    ]
    alike = [kind if kind.is_floating else kind.is_integer for kind in kinds]
    if alike[0] != alike[1]:
        raise TypeError(
            "`negative_ids` must be of the kind of `ids`, both integers, texts or floats of one "
            f"dtype. Received: {kinds[1].name}, where `ids` are {kinds[0].name}."
        )


def _require_one_correction(symmetric: bool, probability: Any, count: Any) -> None:
    if probability is not None and count is not None:
        raise ValueError(
            "`sampling_probability` and `expected_count` must not both be given: each is the "
            "correction. Received: both. Leave one of them out."
        )
    if symmetric and not (probability is None and count is None):
        name = "sampling_probability" if count is None else "expected_count"
        raise ValueError(
            f"`{name}` must be left out with `symmetric=True`: it is that of `positive`, and "
            "anchors are candidates, too. Received: both. Add the directions, each with its "
            f"own: `info_nce(a, b, {name}=q_of_b) + info_nce(b, a, {name}=q_of_a)`."
        )


def _log_q(
    probability: Any, count: Any, anchors: tf.Tensor, valid: tf.Tensor
) -> tf.Tensor | None:
    """The logarithm of how often a batch holds each candidate, of all replicas."""
    name = "sampling_probability" if count is None else "expected_count"
    value = probability if count is None else count
    if value is None:
        return None
    given = as_rows(name, as_float(name, value, anchors.dtype), anchors)
    if count is None:
        broken = valid & ~((given > 0) & (given <= 1))
        rule, way_out = f"`{name}` must be in (0, 1]", "Leave rows out with `mask`."
        given = refuse(given, broken, "probability", rule, way_out)
    return replicas.gather_rows(log_of_count(name, given, valid))


def _with_column(vectors: tf.Tensor, column: tf.Tensor | None) -> tf.Tensor:
    """Vectors with one dimension more, of zeros for `None`."""
    zeros = tf.zeros_like(vectors[..., :1])
    more = zeros if column is None else tf.cast(column, vectors.dtype)[..., None]
    return tf.concat([vectors, more], -1)
