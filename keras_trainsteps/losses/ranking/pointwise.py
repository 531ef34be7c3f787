"""Pointwise losses for ranking rows: each row on its own, queries only in the mean."""

from __future__ import annotations

from typing import Any, Literal

import tensorflow as tf

from keras_trainsteps import replicas
from keras_trainsteps.losses.ranking.lists import Lists, lists
from keras_trainsteps.step.terms import LossTerm, ratio
from keras_trainsteps.validation import TensorLike, as_tensor, require_choice

Normalize = Literal["rows", "queries"]


def sigmoid_crossentropy(
    y_true: TensorLike,
    y_pred: TensorLike,
    *,
    query_ids: TensorLike | None = None,
    mask: TensorLike | None = None,
    sample_weight: TensorLike | None = None,
    query_weight: TensorLike | None = None,
    normalize: Normalize = "rows",
) -> LossTerm:
    """Sigmoid cross-entropy of each row.

    For scores that should also be calibrated log-odds.

    ```
    loss(row) = log(1 + exp(s)) - y * s
    ```

    Args:
        y_true: Labels, probabilities in [0, 1] (not checked); shape `(rows,)` or
            `(rows, 1)`, or padded lists `(queries, list_size)`.
        y_pred: Logits, of the same number of entries. Sums are taken in float64 and
            returned in float32 (float64 logits: in float64).
        query_ids: Integer or string ids, shape `(rows,)`; used by `normalize="queries"`
            and `query_weight` only.
        mask: Bool, of the shape of the labels; rows where it is `False` are ignored.
            Default: all count.
        sample_weight: One weight per row, of the shape of the labels. Default: 1.
        query_weight: One weight per query: shape `(queries,)` for padded lists; for flat
            rows one value per row, the same for all rows of a query. Default: 1.
        normalize: The count. `"rows"` (default, since a pointwise loss knows only rows):
            the sum of the weights, so that a row of weight 2 is a row twice; RAX divides
            by the rows that are not masked, TF-Ranking's Keras losses and Keras by all
            rows. `"queries"`: each query weighs the same, by the weighted mean of its
            rows.

    Returns:
        A `LossTerm`.

    Raises:
        TypeError: For ids that are neither integers nor strings.
        ValueError: For shapes that do not fit, `normalize="queries"` with flat rows and
            no `query_ids`, and, except under XLA, for labels or weights that are NaN, and
            negative weights.

    Example:

    >>> term = sigmoid_crossentropy([1.0, 0.0, 1.0], [0.0, 0.0, 9.0], mask=[1, 1, 0])
    >>> round(float(term.total), 4), float(term.count)  # 2 * log 2
    (1.3863, 2.0)
    """
    batch = _rows(y_true, y_pred, query_ids, mask, sample_weight, query_weight, normalize)
    labels, logits = batch.y_true, batch.y_pred
    losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits)
    return _term(batch, losses, normalize)


def mean_squared_error(
    y_true: TensorLike,
    y_pred: TensorLike,
    *,
    query_ids: TensorLike | None = None,
    mask: TensorLike | None = None,
    sample_weight: TensorLike | None = None,
    query_weight: TensorLike | None = None,
    normalize: Normalize = "rows",
) -> LossTerm:
    """Squared error of each row.

    For labels that are quantities, not only an order.

    ```
    loss(row) = (s - y) ** 2
    ```

    Args:
        y_true: Labels; shape `(rows,)` or `(rows, 1)`, or padded lists
            `(queries, list_size)`.
        y_pred: Predictions, of the same number of entries. Computed in float64, returned
            in float32 (float64 predictions: in float64).
        query_ids: Integer or string ids, shape `(rows,)`; used by `normalize="queries"`
            and `query_weight` only.
        mask: Bool, of the shape of the labels; rows where it is `False` are ignored.
            Default: all count.
        sample_weight: One weight per row, of the shape of the labels. Default: 1.
        query_weight: One weight per query: shape `(queries,)` for padded lists; for flat
            rows one value per row, the same for all rows of a query. Default: 1.
        normalize: `"rows"` (default) or `"queries"`, as in `sigmoid_crossentropy`.

    Returns:
        A `LossTerm`.

    Raises:
        TypeError: For ids that are neither integers nor strings.
        ValueError: As for `sigmoid_crossentropy`.

    Example:

    >>> term = mean_squared_error([[1.0, 0.0]], [[3.0, 1.0]], sample_weight=[[1.0, 3.0]])
    >>> float(term.total), float(term.count)
    (7.0, 4.0)
    """
    batch = _rows(y_true, y_pred, query_ids, mask, sample_weight, query_weight, normalize)
    return _term(batch, tf.math.squared_difference(batch.y_pred, batch.y_true), normalize)


def _rows(
    y_true: Any,
    y_pred: Any,
    query_ids: Any,
    mask: Any,
    sample_weight: Any,
    query_weight: Any,
    normalize: Normalize,
) -> Lists:
    require_choice("normalize", normalize, Normalize)
    y_pred = as_tensor("y_pred", y_pred)
    flat = y_pred.shape.rank == 1 or (y_pred.shape.rank == 2 and y_pred.shape[1] == 1)
    if query_ids is None and flat:
        if normalize == "queries":
            raise ValueError(
                '`query_ids` must be given for flat rows with `normalize="queries"`. '
                f"Received: None, for predictions of shape {tuple(y_pred.shape)}."
            )
        rows = tf.shape(y_pred)[0]  # no row shares a query, on no replica either
        query_ids = tf.range(rows) + replicas.first_own_row(rows)
    return lists(
        y_true,
        y_pred,
        query_ids=query_ids,
        mask=mask,
        sample_weight=sample_weight,
        query_weight=query_weight,
        gains=False,
        grades=False,
    )


def _term(batch: Lists, losses: tf.Tensor, normalize: Normalize) -> LossTerm:
    totals = batch.sum(batch.weighed(losses))
    weights = batch.rows_of_queries() if batch.weight is None else batch.sum(batch.weight)
    if normalize == "rows":
        term = batch.term(totals, weights, "rows")
    else:
        term = batch.term(ratio(totals, weights), weights != 0, "queries")
    return LossTerm(*term)  # no row is compared: a query may well have only one
