"""Pairwise ranking losses: sums over pairs of rows of one query."""

from __future__ import annotations

from typing import Any, Literal

import tensorflow as tf

from keras_trainsteps import compat
from keras_trainsteps.losses.lambda_weights import LambdaWeight
from keras_trainsteps.losses.ranking.query_weights import query_weights
from keras_trainsteps.pairs import (
    HINGE,
    LOGISTIC,
    SOFT_ZERO_ONE,
    SQUARED_ERROR,
    SQUARED_HINGE,
    PairKernel,
    pair_sums,
)
from keras_trainsteps.queries import (
    RankingRows,
    checked_labels,
    owned_term,
    query_sizes,
    ranking_rows,
)
from keras_trainsteps.step.terms import LossTerm, QueryTerm
from keras_trainsteps.validation import TensorLike, require_choice, require_positive

Pairs = Literal["preference", "all"]
PairWeight = Literal["product", "preferred"]
Normalize = Literal["pairs", "queries", "rows"]
Method = Literal["auto", "exact", "linear"]


def pairwise_logistic(
    y_true: TensorLike,
    y_pred: TensorLike,
    *,
    query_ids: TensorLike | None = None,
    mask: TensorLike | None = None,
    sample_weight: TensorLike | None = None,
    query_weight: TensorLike | None = None,
    pairs: Pairs = "preference",
    pair_weight: PairWeight = "product",
    lambda_weight: LambdaWeight | None = None,
    normalize: Normalize = "pairs",
    temperature: float = 1.0,
    epsilon: float = 0.0,
    method: Method = "auto",
) -> LossTerm:
    """Pairwise logistic loss (RankNet) over the rows of each query.

    With `d = (s_i - s_j) / temperature` and pair weights `w_ij`:

    - `pairs="preference"`: `sum of w_ij * softplus(-d)` over pairs of one query with
      `y_i > y_j` (Burges et al. 2005; the convention of RAX, TF-Ranking and Keras-RS).
    - `pairs="all"`: over all ordered pairs `i != j` of one query the cross-entropy of
      `sigmoid(d)` with the soft target `t = (1 + clip(y_i - y_j, -1, 1)) / 2`, which is
      `sum of w_ij * (softplus(-d) + (1 - t) * d)`. Ties pull scores together.

    Args:
        y_true: Labels, any real numbers, shape `(rows,)` or `(rows, 1)`; or padded lists
            `(queries, list_size)` when there are no `query_ids`.
        y_pred: Scores, same number of entries. float16 and bfloat16 are computed in
            float32, float64 in float64.
        query_ids: Integer or string ids, one per row, in any order, not necessarily
            contiguous. `None` for padded lists.
        mask: Bool, of the shape of the labels: rows where it is `False` are ignored.
            Default: all count.
        sample_weight: Weights, one per row, not negative. Default: 1.
        query_weight: Weights of queries, not negative: one per list for padded lists,
            together with ids one per row, the same for all rows of a query. Default: 1.
        pairs: `"preference"` or `"all"`.
        pair_weight: What a pair weighs: `"product"` of its rows' weights, so that weight 2
            equals the row twice, or the weight of the `"preferred"` row, the one with
            the higher label (the convention of TF-Ranking, Keras-RS and RAX). In a pair
            of equal labels (`pairs="all"`) the latter is the mean of both.
        lambda_weight: A further factor on each pair's term, not on the count, from
            `losses.lambda_weights`: `NDCG(k=10)` makes it LambdaRank. Default: none.
        normalize: The denominator. `"pairs"`, the default because it is the one that no
            batch composition changes: the sum of the pair weights (RAX divides by the
            number of pairs, also with weights). `"queries"`: each query's mean over its
            pairs, averaged over queries that have a pair (compare XGBoost and LightGBM).
            `"rows"`: the number of rows (Keras-RS and TF-Ranking, which count padding).
        temperature: Divides the scores. Default 1.
        epsilon: Added to the denominator of a batch. Default 0.
        method: `"exact"` visits every pair, `"linear"` takes time linear in the rows,
            `"auto"`, the default, for each query what is faster.

    Returns:
        A `LossTerm`; its total and count are 0 when no pair exists.

    Raises:
        TypeError: For ids that are neither integers nor strings.
        ValueError: For shapes that do not fit, unknown options, a temperature that is not
            positive, and, except under XLA, for labels or weights that are NaN, for negative
            weights, and for negative labels where a `lambda_weight` takes them for gains.

    Example:

    >>> term = pairwise_logistic(
    ...     [1.0, 0.0, 1.0], [2.0, 1.0, 5.0], query_ids=["a", "a", "b"]
    ... )
    >>> round(float(term.value), 6) == round(float(np.log1p(np.exp(-1.0))), 6)
    True
    >>> float(term.count)
    1.0

    Reference:
        Burges et al., Learning to Rank using Gradient Descent, ICML 2005.
    """
    return _pairwise(
        LOGISTIC,
        y_true,
        y_pred,
        query_ids=query_ids,
        mask=mask,
        sample_weight=sample_weight,
        query_weight=query_weight,
        pairs=pairs,
        pair_weight=pair_weight,
        lambda_weight=lambda_weight,
        normalize=normalize,
        temperature=temperature,
        epsilon=epsilon,
        method=method,
    )


def pairwise_hinge(
    y_true: TensorLike,
    y_pred: TensorLike,
    *,
    query_ids: TensorLike | None = None,
    mask: TensorLike | None = None,
    sample_weight: TensorLike | None = None,
    query_weight: TensorLike | None = None,
    pair_weight: PairWeight = "product",
    lambda_weight: LambdaWeight | None = None,
    normalize: Normalize = "pairs",
    temperature: float = 1.0,
    method: Method = "auto",
) -> LossTerm:
    """Pairwise hinge loss: `sum of w_ij * max(0, 1 - d)` over pairs with `y_i > y_j`.

    Arguments, result and errors are those of `pairwise_logistic`.

    Example:

    >>> float(pairwise_hinge([1.0, 0.0], [2.0, 1.5], query_ids=[0, 0]).value)
    0.5

    Reference:
        Herbrich, Graepel and Obermayer, Large Margin Rank Boundaries for Ordinal
        Regression, 2000.
    """
    return _pairwise(
        HINGE,
        y_true,
        y_pred,
        query_ids=query_ids,
        mask=mask,
        sample_weight=sample_weight,
        query_weight=query_weight,
        pair_weight=pair_weight,
        lambda_weight=lambda_weight,
        normalize=normalize,
        temperature=temperature,
        method=method,
    )


def pairwise_squared_hinge(
    y_true: TensorLike,
    y_pred: TensorLike,
    *,
    query_ids: TensorLike | None = None,
    mask: TensorLike | None = None,
    sample_weight: TensorLike | None = None,
    query_weight: TensorLike | None = None,
    pair_weight: PairWeight = "product",
    lambda_weight: LambdaWeight | None = None,
    normalize: Normalize = "pairs",
    temperature: float = 1.0,
    method: Method = "auto",
) -> LossTerm:
    """Squared pairwise hinge: `sum of w_ij * max(0, 1 - d)**2` over pairs with `y_i > y_j`.

    Arguments, result and errors are those of `pairwise_logistic`.

    Example:

    >>> float(pairwise_squared_hinge([1.0, 0.0], [2.0, 1.5], query_ids=[0, 0]).value)
    0.25

    Reference:
        Chapelle and Keerthi, Efficient Algorithms for Ranking with SVMs, 2010.
    """
    return _pairwise(
        SQUARED_HINGE,
        y_true,
        y_pred,
        query_ids=query_ids,
        mask=mask,
        sample_weight=sample_weight,
        query_weight=query_weight,
        pair_weight=pair_weight,
        lambda_weight=lambda_weight,
        normalize=normalize,
        temperature=temperature,
        method=method,
    )


def pairwise_soft_zero_one(
    y_true: TensorLike,
    y_pred: TensorLike,
    *,
    query_ids: TensorLike | None = None,
    mask: TensorLike | None = None,
    sample_weight: TensorLike | None = None,
    query_weight: TensorLike | None = None,
    pair_weight: PairWeight = "product",
    lambda_weight: LambdaWeight | None = None,
    normalize: Normalize = "pairs",
    temperature: float = 1.0,
) -> LossTerm:
    """Soft zero-one loss: `sum of w_ij * sigmoid(-d)` over pairs with `y_i > y_j`.

    A smooth count of misordered pairs, as in RAX, TF-Ranking and Keras-RS. Arguments,
    result and errors are those of `pairwise_logistic`; every pair is visited.

    Example:

    >>> float(pairwise_soft_zero_one([1.0, 0.0], [2.0, 2.0], query_ids=[0, 0]).value)
    0.5
    """
    return _pairwise(
        SOFT_ZERO_ONE,
        y_true,
        y_pred,
        query_ids=query_ids,
        mask=mask,
        sample_weight=sample_weight,
        query_weight=query_weight,
        pair_weight=pair_weight,
        lambda_weight=lambda_weight,
        normalize=normalize,
        temperature=temperature,
    )


def pairwise_mean_squared_error(
    y_true: TensorLike,
    y_pred: TensorLike,
    *,
    query_ids: TensorLike | None = None,
    mask: TensorLike | None = None,
    sample_weight: TensorLike | None = None,
    query_weight: TensorLike | None = None,
    pairs: Pairs = "all",
    pair_weight: PairWeight = "product",
    lambda_weight: LambdaWeight | None = None,
    normalize: Normalize = "pairs",
    temperature: float = 1.0,
    method: Method = "auto",
) -> LossTerm:
    """Squared error of score differences: `sum of w_ij * (d - (y_i - y_j))**2`.

    By default over all ordered pairs `i != j` of a query, as in RAX, TF-Ranking and
    Keras-RS (RAX also counts a row with itself). Arguments, result and errors are those of
    `pairwise_logistic`.

    Example:

    >>> float(pairwise_mean_squared_error([1.0, 0.0], [2.0, 4.0], query_ids=[0, 0]).value)
    9.0
    """
    return _pairwise(
        SQUARED_ERROR,
        y_true,
        y_pred,
        query_ids=query_ids,
        mask=mask,
        sample_weight=sample_weight,
        query_weight=query_weight,
        pairs=pairs,
        pair_weight=pair_weight,
        lambda_weight=lambda_weight,
        normalize=normalize,
        temperature=temperature,
        method=method,
    )


def _pairwise(
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
    """The one routine of all pairwise losses."""
    require_choice("pairs", pairs, Pairs)
    require_choice("pair_weight", pair_weight, PairWeight)
    require_choice("normalize", normalize, Normalize)
    require_choice("method", method, Method)
    require_positive("temperature", temperature)
    if not epsilon >= 0:
        raise ValueError(f"`epsilon` must not be negative. Received: {epsilon}.")
    rows = ranking_rows(
        y_true, y_pred, query_ids=query_ids, mask=mask, sample_weight=sample_weight
    )
    gains = lambda_weight is not None and lambda_weight.gains
    rows = _with_checked_labels(rows, gains=gains)
    totals, counts = pair_sums(
        kernel,
        rows.y_true,
        rows.y_pred / tf.constant(temperature, rows.y_pred.dtype),
        rows.query,
        rows.num_queries,
        pairs=pairs,
        row_weight=rows.weight,
        pair_weight=pair_weight,
        pair_factor=None if lambda_weight is None else lambda_weight.factor(rows),
        method=method,
    )
    if normalize == "queries":
        totals = tf.math.divide_no_nan(totals, counts)
        counts = tf.cast(counts != 0, totals.dtype)  # NaN stays in sight
    elif normalize == "rows":
        ones = tf.ones_like(rows.y_pred)
        counts = tf.math.unsorted_segment_sum(ones, rows.query, rows.num_queries)
    if query_weight is not None:
        y_pred = tf.convert_to_tensor(y_pred)
        weights = query_weights(query_weight, y_pred, query_ids is None, rows)
        totals, counts = (part * tf.cast(weights, part.dtype) for part in (totals, counts))
    term = owned_term(totals, counts, rows.owned)
    if epsilon:
        # Spread over the replicas as the count is, so that it is added once.
        share = tf.math.divide_no_nan(tf.constant(epsilon, counts.dtype), tf.reduce_sum(counts))
        term = LossTerm(term.total, term.count * (1 + share))
    return QueryTerm.of(term, query_sizes(rows))


def _with_checked_labels(rows: RankingRows, *, gains: bool) -> RankingRows:
    """The rows with numbers alone in what is masked, and NaN scores for NaN labels."""
    y_true = checked_labels(rows, gains=gains)
    zeros = tf.zeros_like(y_true)
    y_pred = tf.where(rows.query >= 0, rows.y_pred, zeros)  # sorting would trip over a NaN
    if compat.in_xla():  # a NaN label is in no pair: what cannot be refused must not be hidden
        unknown = tf.math.is_nan(y_true)
        y_true = tf.where(unknown, zeros, y_true)
        y_pred = tf.where(unknown, tf.constant(float("nan"), y_pred.dtype), y_pred)
    return rows._replace(y_true=y_true, y_pred=y_pred)
