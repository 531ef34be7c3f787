"""The one routine of all pairwise losses."""

from __future__ import annotations

import functools
from typing import Any, Literal

import tensorflow as tf

from keras_trainsteps import compat
from keras_trainsteps.losses.lambda_weights import LambdaWeight
from keras_trainsteps.losses.ranking.first_rows import by_first_row, first_row_counts
from keras_trainsteps.losses.ranking.query_weights import query_weights
from keras_trainsteps.pairs import SQUARED_ERROR, PairKernel, pair_sums
from keras_trainsteps.queries import (
    Gains,
    RankingRows,
    checked_gain_labels,
    gain_limit,
    owned_term,
    query_sizes,
    ranking_rows,
)
from keras_trainsteps.step.terms import LossTerm, QueryTerm, ratio
from keras_trainsteps.validation import require_choice, require_not_negative, require_positive

Pairs = Literal["preference", "all", "ordered"]
PairWeight = Literal["product", "preferred", "first"]
Normalize = Literal["pairs", "queries", "rows"]
Method = Literal["auto", "exact", "linear"]


def pairwise_term(
    kernel: PairKernel,
    y_true: Any,
    y_pred: Any,
    *,
    query_ids: Any,
    mask: Any,
    sample_weight: Any,
    query_weight: Any,
    pair_weight: PairWeight,
    lambda_weight: LambdaWeight | None,
    normalize: Normalize,
    temperature: float,
    pairs: Pairs = "preference",
    epsilon: float = 0.0,
    method: Method = "auto",
) -> LossTerm:
    """Total and count of a pairwise loss, or of its queries or rows."""
    require_choice("pairs", pairs, Pairs)
    require_choice("pair_weight", pair_weight, PairWeight)
    require_choice("normalize", normalize, Normalize)
    require_choice("method", method, Method)
    require_positive("temperature", temperature)
    require_not_negative("epsilon", epsilon)
    if lambda_weight is not None and not isinstance(lambda_weight, LambdaWeight):
        raise TypeError(
            "`lambda_weight` must be an object of `losses.lambda_weights`, or None. Received: "
            f"{lambda_weight!r}. Write e.g. `lambda_weights.NDCG(k=10)`."
        )
    if pairs == "ordered" and kernel is SQUARED_ERROR:
        raise ValueError(
            "`pairs` must be 'preference' or 'all' for a loss of the differences of labels. "
            "Received: 'ordered'. All ordered pairs are 'all'."
        )
    if lambda_weight is not None and pairs == "all" and not lambda_weight.symmetric:
        raise ValueError(
            "`pairs` must be 'ordered' or 'preference' with a `lambda_weight` of the first row "
            f"of a pair. Received: 'all' with {lambda_weight!r}."
        )
    rows = ranking_rows(
        y_true, y_pred, query_ids=query_ids, mask=mask, sample_weight=sample_weight
    )
    gains: Gains | bool = False if lambda_weight is None else lambda_weight.gains
    grows = lambda_weight is not None and lambda_weight.grows
    limit = gain_limit(rows.y_pred.dtype) if grows else None
    rows = _with_checked_labels(rows, gains=gains, limit=limit)
    factor = None if lambda_weight is None else lambda_weight.factor(rows)
    row_weight, by_first = rows.weight, pair_weight == "first" and pairs == "all"
    if by_first and row_weight is not None:
        if method == "linear":
            raise ValueError(
                "`method` must be 'auto' or 'exact' for all pairs with `pair_weight='first'`: "
                "there is no linear method. Received: 'linear'."
            )
        row_weight, factor = None, by_first_row(row_weight, factor)
    sums = functools.partial(
        pair_sums,
        kernel,
        y_pred=rows.y_pred / tf.constant(temperature, rows.y_pred.dtype),
        query=rows.query,
        num_queries=rows.num_queries,
        row_weight=row_weight,
        # Elsewhere the first row of a pair is the preferred one.
        pair_weight="product" if pair_weight == "product" or by_first else "preferred",
        pair_factor=factor,
        method=method,
        list_size=_list_size(tf.convert_to_tensor(y_pred)) if query_ids is None else None,
    )
    if pairs == "ordered":
        # Of rows that all differ each two are a pair, in this order and then in the other.
        place = tf.cast(tf.range(tf.size(rows.y_true)), tf.float64)
        both = [sums(y_true=order, pairs="preference") for order in (place, -place)]
        totals, counts = (tf.add(*parts) for parts in zip(*both, strict=True))
    else:
        totals, counts = sums(y_true=rows.y_true, pairs=pairs)
        if by_first and rows.weight is not None:
            counts = first_row_counts(rows, rows.weight)
    if normalize == "queries":
        totals = ratio(totals, counts)
        counts = tf.cast(counts != 0, totals.dtype)  # NaN stays in sight
    elif normalize == "rows":
        ones = tf.ones_like(rows.y_true)
        counts = tf.math.unsorted_segment_sum(ones, rows.query, rows.num_queries)
    if query_weight is not None:
        y_pred = tf.convert_to_tensor(y_pred)
        weights = query_weights(query_weight, y_pred, query_ids is None, rows)
        totals, counts = totals * weights, counts * weights
    if epsilon:  # spread over the queries as the count is, so that it is added once
        share = tf.math.divide_no_nan(tf.constant(epsilon, counts.dtype), tf.reduce_sum(counts))
        counts *= 1 + share
    weighted = sample_weight is not None or query_weight is not None
    term = owned_term(totals, counts, rows.owned, rows.y_pred.dtype, weighted=weighted)
    return QueryTerm.of(term, query_sizes(rows))


def _list_size(y_pred: tf.Tensor) -> int | tf.Tensor:
    return tf.shape(y_pred)[1] if y_pred.shape[1] is None else y_pred.shape[1]


def _with_checked_labels(
    rows: RankingRows, *, gains: Gains | bool, limit: float | None
) -> RankingRows:
    """The rows with numbers alone in what is masked, and NaN scores for NaN labels."""
    y_true = checked_gain_labels(rows.y_true, rows.query >= 0, gains, limit)
    # Sorting would trip over a NaN.
    y_pred = tf.where(rows.query >= 0, rows.y_pred, tf.zeros_like(rows.y_pred))
    if compat.in_xla():  # a NaN label is in no pair: what cannot be refused must not be hidden
        unknown = tf.math.is_nan(y_true)
        y_true = tf.where(unknown, tf.zeros_like(y_true), y_true)
        y_pred = tf.where(unknown, tf.constant(float("nan"), y_pred.dtype), y_pred)
    return rows._replace(y_true=y_true, y_pred=y_pred)
