"""The rows of a batch as lists, one per query: what the listwise losses start from."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import tensorflow as tf

from keras_trainsteps import compat
from keras_trainsteps.losses.ranking.query_weights import query_weights, relevant_weights
from keras_trainsteps.losses.ranking.segments import sum_by, take
from keras_trainsteps.pairs.reduce import count_by_group
from keras_trainsteps.queries import (
    Gains,
    checked_gain_labels,
    gain_limit,
    owned_term,
    query_sizes,
    ranking_rows,
)
from keras_trainsteps.step import running
from keras_trainsteps.step.terms import LossTerm, QueryTerm
from keras_trainsteps.validation import require_choice, require_positive

Normalize = Literal["queries", "lists", "rows"]
Weigh = Literal["rows", "relevant"]


class Lists(NamedTuple):
    """Flat rows with their query, in float64, safe to compute with.

    Attributes:
        y_true: Labels, shape `(rows,)`; 0 in masked rows.
        y_pred: Scores, shape `(rows,)`; 0 in masked rows, NaN for NaN and infinity.
        query: Dense query index, int32, shape `(rows,)`; -1 in masked rows.
        valid: Whether a row is not masked, bool, shape `(rows,)`; `None` where none is.
        weight: Weight of each row, shape `(rows,)`; 0 in masked rows. `None` for 1 each.
        query_weight: Weight of each query, shape `(num_queries,)`. `None` for 1 each.
        num_queries: A scalar above every query index.
        owned: The queries that this replica counts, or `None`.
        dtype: The dtype of the loss: float32, or float64 for float64 scores.
        query_sizes: How many queries have one row, and how many more.
        weighted: Whether rows or queries were given weights.
        list_size: The length of padded lists, which the rows fill one after the other; an
            int32 scalar. `None` for rows with ids.
    """

    y_true: tf.Tensor
    y_pred: tf.Tensor
    query: tf.Tensor
    valid: tf.Tensor | None
    weight: tf.Tensor | None
    query_weight: tf.Tensor | None
    num_queries: tf.Tensor
    owned: tf.Tensor | None
    dtype: tf.DType
    query_sizes: tf.Tensor
    weighted: bool
    list_size: tf.Tensor | None = None

    @property
    def segments(self) -> tf.Tensor | None:
        """The number of queries, where each row is of one of them."""
        return self.num_queries if self.valid is None else None

    @property
    def shape(self) -> tf.Tensor | None:
        """Lists and their size, where the rows are padded lists one after the other."""
        if self.list_size is None or self.owned is not None:
            return None
        return tf.stack([self.num_queries, self.list_size])

    def sum(self, values: tf.Tensor) -> tf.Tensor:
        """The sum of the rows of each query, shape `(num_queries,)`."""
        if self.shape is not None:
            return tf.reduce_sum(tf.reshape(self.of_valid(values), self.shape), 1)
        return sum_by(self.of_valid(values), self.query, self.num_queries)

    def of_valid(self, values: tf.Tensor, otherwise: float = 0.0) -> tf.Tensor:
        """The values, and another in masked rows."""
        if self.valid is None:
            return values
        return tf.where(self.valid, values, tf.constant(otherwise, values.dtype))

    def weighed(self, values: tf.Tensor) -> tf.Tensor:
        """The values times the weights of their rows."""
        return values if self.weight is None else self.weight * values

    def maximum(self, values: tf.Tensor) -> tf.Tensor:
        """The largest of the rows of each query; a constant to the gradient."""
        if self.shape is not None:
            largest = tf.reduce_max(
                tf.reshape(self.of_valid(values, values.dtype.min), self.shape), 1
            )
        else:
            largest = tf.math.unsorted_segment_max(values, self.query, self.num_queries)
        return tf.stop_gradient(largest)

    def log_softmax_parts(self, values: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The value of each row, and the log-sum-exp of each query, both less the maximum."""
        shifted = self.of_valid(values - self.at_rows(self.maximum(values)))
        total = self.sum(tf.exp(shifted))
        if self.valid is not None or compat.in_xla():  # there may be a query without a row
            total = tf.where(total == 0, tf.ones_like(total), total)
        return shifted, tf.math.log(total)

    def ordered(self, query: tf.Tensor) -> Lists:
        """What sums up rows in another order, by their query there."""
        valid = None if self.valid is None else query >= 0
        return self._replace(query=query, valid=valid, list_size=None)

    def rows_of_queries(self) -> tf.Tensor:
        """How many rows each query has, float64."""
        return tf.cast(count_by_group(self.query, self.num_queries), tf.float64)

    def at_rows(self, values: tf.Tensor) -> tf.Tensor:
        """Each row's entry of a `(num_queries,)` tensor."""
        if self.shape is not None:
            return tf.reshape(tf.broadcast_to(values[:, None], self.shape), (-1,))
        return take(values, self.query if self.valid is None else tf.maximum(self.query, 0))

    def term(self, totals: tf.Tensor, informative: tf.Tensor, normalize: Normalize) -> LossTerm:
        """The term of one total per query, divided as `normalize` says."""
        counts = informative
        if normalize == "lists":
            counts = self.rows_of_queries() > 0
        elif normalize == "rows":
            counts = self.rows_of_queries() if self.weight is None else self.sum(self.weight)
        counts = tf.cast(counts, totals.dtype)
        if self.query_weight is not None:
            counts, totals = counts * self.query_weight, totals * self.query_weight
        term = owned_term(totals, counts, self.owned, self.dtype, weighted=self.weighted)
        return QueryTerm.of(term, self.query_sizes)


def lists(
    y_true: Any,
    y_pred: Any,
    *,
    query_ids: Any,
    mask: Any,
    sample_weight: Any,
    query_weight: Any,
    gains: Gains | bool,
    grows: bool = False,
    grades: bool = True,
    temperature: float = 1.0,
    weigh: Weigh = "rows",
) -> Lists:
    """Checks a batch and groups it.

    `gains`: what labels are worth, `True` where they are gains and `False` where they are none;
    `grows`: whether the loss grows with the gains; `grades`: as in `ranking_rows`;
    `temperature`: what scores are divided by; `weigh`: what the weights of rows weigh, the rows
    or, by their relevant ones, the queries.
    """
    require_choice("weigh", weigh, Weigh)
    require_positive("temperature", temperature)
    rows = ranking_rows(
        y_true,
        y_pred,
        query_ids=query_ids,
        mask=mask,
        sample_weight=sample_weight,
        grades=grades,
    )
    all_valid = mask is None and not running.is_padded()
    valid = None if all_valid else rows.query >= 0
    if weigh == "relevant":
        gains = gains or True
    limit = gain_limit(rows.y_pred.dtype) if grows else None
    labels = checked_gain_labels(rows.y_true, valid, gains, limit)
    scores, weight = rows.y_pred, rows.weight
    if valid is not None:
        scores = tf.where(valid, scores, tf.zeros_like(scores))
        weight = tf.cast(valid, tf.float64) if weight is None else weight
        weight = tf.where(valid, weight, tf.zeros_like(weight))
    # An infinite score must not pass for a perfect one, nor a NaN label for a low one.
    whole = tf.math.is_finite(scores) & tf.math.is_finite(labels)
    spoilt = tf.where(whole, *(tf.constant(value, scores.dtype) for value in (0.0, float("nan"))))
    scores = tf.cast(scores + tf.stop_gradient(spoilt), tf.float64)
    if temperature != 1:
        scores /= tf.constant(temperature, tf.float64)
    of_queries = None
    if query_weight is not None:
        y_pred = tf.convert_to_tensor(y_pred)
        of_queries = query_weights(query_weight, y_pred, query_ids is None, rows)
    if weigh == "relevant" and sample_weight is not None and weight is not None:
        relevant = relevant_weights(labels, weight, rows.query, rows.num_queries)
        of_queries = relevant if of_queries is None else relevant * of_queries
        weight = None
    return Lists(
        labels,
        scores,
        rows.query,
        valid,
        weight,
        of_queries,
        rows.num_queries,
        rows.owned,
        rows.y_pred.dtype,
        query_sizes(rows),
        sample_weight is not None or query_weight is not None,
        None if query_ids is not None else tf.shape(y_pred)[1],
    )
