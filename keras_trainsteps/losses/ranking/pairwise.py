"""Pairwise ranking losses: sums over pairs of rows of one query."""

from __future__ import annotations

from keras_trainsteps.losses.lambda_weights import LambdaWeight
from keras_trainsteps.losses.ranking.pair_term import (
    Method,
    Normalize,
    Pairs,
    PairWeight,
    pairwise_term,
)
from keras_trainsteps.pairs import HINGE, LOGISTIC, SOFT_ZERO_ONE, SQUARED_ERROR, SQUARED_HINGE
from keras_trainsteps.step.terms import LossTerm
from keras_trainsteps.validation import TensorLike


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
    - `pairs="ordered"`: `sum of w_ij * softplus(-d)` over all ordered pairs `i != j` of one
      query, whatever their labels: for lambda weights of the first row of a pair (`DCG1`,
      `NDCG1`, `ARP1`).

    Args:
        y_true: Labels, any real numbers, shape `(rows,)` or `(rows, 1)`; or padded lists
            `(queries, list_size)` when there are no `query_ids`. Compared in float64. Padded
            lists without a `mask` must have no negative one, as a -1 for padding.
        y_pred: Scores, same number of entries. float16 and bfloat16 are computed in
            float32, float64 in float64.
        query_ids: Integer or string ids, one per row, in any order, not necessarily
            contiguous. `None` for padded lists.
        mask: Bool, of the shape of the labels: rows where it is `False` are ignored.
            Default: all count.
        sample_weight: Weights, one per row, not negative. Default: 1.
        query_weight: Weights of queries, not negative: one per list for padded lists,
            together with ids one per row, the same for all rows of a query. Default: 1.
        pairs: `"preference"`, `"all"` or `"ordered"`.
        pair_weight: What a pair weighs: `"product"` of its rows' weights, so that weight 2
            equals the row twice, or the weight of the `"preferred"` row, the one with
            the higher label (the convention of TF-Ranking, Keras-RS and RAX). In a pair
            of equal labels (`pairs="all"`) the latter is the mean of both. Or of the `"first"`
            row `i`: over all ordered pairs `w_i` and `w_j` in turn, as in the pairwise mean
            squared error of TF-Ranking and Keras-RS; else that of the preferred row.
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
        TypeError: For ids that are neither integers nor strings, what is no dense array of
            numbers, and a `lambda_weight` that is none.
        ValueError: For shapes that do not fit, unknown options, a temperature that is not
            positive, and, except under XLA, for labels or weights that are NaN, negative or
            infinite weights, a mask of other numbers than 0 and 1, integer labels beyond
            2**53, and negative labels where a `lambda_weight` takes them for gains, or in
            padded lists without a `mask`.

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
    return pairwise_term(
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

    For an order that only needs a margin; `d = (s_i - s_j) / temperature`. Arguments, result
    and errors are those of `pairwise_logistic`.

    Example:

    >>> float(pairwise_hinge([1.0, 0.0], [2.0, 1.5], query_ids=[0, 0]).value)
    0.5

    Reference:
        Herbrich, Graepel and Obermayer, Large Margin Rank Boundaries for Ordinal
        Regression, 2000.
    """
    return pairwise_term(
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

    It is smooth at the margin; `d = (s_i - s_j) / temperature`. Arguments, result and errors
    are those of `pairwise_logistic`.

    Example:

    >>> float(pairwise_squared_hinge([1.0, 0.0], [2.0, 1.5], query_ids=[0, 0]).value)
    0.25

    Reference:
        Chapelle and Keerthi, Efficient Algorithms for Ranking with SVMs, 2010.
    """
    return pairwise_term(
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

    A smooth count of misordered pairs, as in RAX, TF-Ranking and Keras-RS, with
    `d = (s_i - s_j) / temperature`: no pair counts more than its weight. Arguments, result
    and errors are those of `pairwise_logistic`.

    Example:

    >>> float(pairwise_soft_zero_one([1.0, 0.0], [2.0, 2.0], query_ids=[0, 0]).value)
    0.5
    """
    return pairwise_term(
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

    For labels whose distances count, but not their level; `d = (s_i - s_j) / temperature`.
    By default over all ordered pairs `i != j` of a query, as in RAX, TF-Ranking and
    Keras-RS (RAX also counts a row with itself). Arguments, result and errors are those of
    `pairwise_logistic`.

    Example:

    >>> float(pairwise_mean_squared_error([1.0, 0.0], [2.0, 4.0], query_ids=[0, 0]).value)
    9.0
    """
    return pairwise_term(
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
