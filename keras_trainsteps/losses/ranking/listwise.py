"""Listwise ranking losses over top-one probabilities."""

from __future__ import annotations

from typing import Literal

import tensorflow as tf

from keras_trainsteps.losses import lambda_weights
from keras_trainsteps.losses.ranking.lists import Lists, Normalize, Weigh, lists
from keras_trainsteps.losses.ranking.segments import (
    last_row_of_run,
    log_cumsum_exp,
    take,
)
from keras_trainsteps.queries import (
    Gains,
    RankingRows,
    as_gains,
    gains_of,
    query_order,
)
from keras_trainsteps.step.terms import LossTerm
from keras_trainsteps.validation import TensorLike, require_choice

Labels = Literal["given", "normalized", "softmax"]
RowWorth = lambda_weights.DCG | lambda_weights.NDCG


def softmax(
    y_true: TensorLike,
    y_pred: TensorLike,
    *,
    query_ids: TensorLike | None = None,
    mask: TensorLike | None = None,
    sample_weight: TensorLike | None = None,
    query_weight: TensorLike | None = None,
    weigh: Weigh = "rows",
    labels: Labels | RowWorth = "given",
    normalize: Normalize = "queries",
    temperature: float = 1.0,
) -> LossTerm:
    """Softmax cross-entropy of the scores of each query (ListNet).

    For queries in which few items are relevant, and as a fast, stable first choice:
    `O(rows)` time and memory.

    ```
    loss(query) = -sum_i p_i * log(exp(s_i) / sum_j exp(s_j))
    ```

    of scores `s` divided by `temperature`, with `p_i = y_i` (`labels="given"`),
    `p_i = y_i / sum_j y_j` (`"normalized"`), or `p_i = exp(y_i) / sum_j exp(y_j)`
    (`"softmax"`, the top-one probabilities of the ListNet paper), or, of a lambda weight,
    `p_i = G_i * D(r_i)`, what row `i` adds to DCG or NDCG at its rank by score. Item weights
    multiply `y_i`; with the latter two they multiply `p_i`.

    Args:
        y_true: Labels, not negative; shape `(rows,)` or `(rows, 1)`, or padded lists
            `(queries, list_size)`.
        y_pred: Scores, of the same number of entries. Computed in float64, returned in
            float32 (float64 scores: in float64).
        query_ids: Integer or string ids, shape `(rows,)`, in any order. `None` for
            padded lists.
        mask: Bool, of the shape of the labels; rows where it is `False` are ignored.
            Default: all count.
        sample_weight: One weight per item, of the shape of the labels. Default: 1.
        query_weight: One weight per query: shape `(queries,)` for padded lists;
            together with `query_ids` one per row, the same for all rows of a query. Default: 1.
        weigh: What `sample_weight` weighs: `"rows"` (default), or `"relevant"`: the query, by
            `sum w * y / sum y` of its rows, as TF-Ranking and Keras-RS weigh lists; labels must
            then not be negative.
        labels: How labels become probabilities. Default `"given"`: RAX's and TF-Ranking's. Or
            `lambda_weights.DCG(...)` or `NDCG(...)`, as `lambda_weight` of TF-Ranking's.
        normalize: The count. `"queries"` (default, since a query without a relevant item
            has nothing to learn from): the weights of the queries with a relevant item.
            `"lists"`: of all queries with a row, as RAX divides; TF-Ranking's Keras
            losses also count fully masked lists. `"rows"`: the weights of the rows.
        temperature: A number that divides the scores, above 0. Default 1.

    Returns:
        A `LossTerm`.

    Raises:
        TypeError: For ids that are neither integers nor strings.
        ValueError: For shapes that do not fit, an unknown option, a `temperature` that is
            not positive, and, except under XLA, for labels or weights that are NaN or
            negative.

    Example:

    >>> term = softmax([1.0, 0.0, 0.0], [0.0, 0.0, 5.0], query_ids=[7, 7, 8])
    >>> round(float(term.total), 4), float(term.count)  # log 2; query 8 has no label
    (0.6931, 1.0)

    Reference:
        Cao et al., "Learning to Rank: From Pairwise Approach to Listwise Approach", 2007.
    """
    by_rank = labels if isinstance(labels, lambda_weights.DCG | lambda_weights.NDCG) else None
    if by_rank is None:
        require_choice("labels", labels, Labels)
    require_choice("normalize", normalize, Normalize)
    batch = lists(
        y_true,
        y_pred,
        query_ids=query_ids,
        mask=mask,
        sample_weight=sample_weight,
        query_weight=query_weight,
        weigh=weigh,
        gains=labels != "softmax" if by_rank is None else by_rank.gains,
        grows=by_rank is not None and by_rank.grows,
        temperature=temperature,
    )
    if by_rank is not None:
        target = batch.weighed(by_rank.row_weights(_as_rows(batch)))
    elif labels == "softmax":
        shifted, log_sum = batch.log_softmax_parts(batch.y_true)
        target = batch.weighed(tf.exp(shifted - batch.at_rows(log_sum)))
    else:
        target = batch.weighed(batch.y_true)
        if labels == "normalized":
            target = tf.math.divide_no_nan(target, batch.at_rows(batch.sum(target)))
    shifted, log_sum = batch.log_softmax_parts(batch.y_pred)
    in_all = batch.sum(target)
    # Neither part is negative, so nothing cancels.
    totals = in_all * log_sum - batch.sum(target * shifted)
    return batch.term(totals, in_all != 0, normalize)


def _as_rows(batch: Lists) -> RankingRows:
    """The rows to be ranked by score; one that is not known ranks as 0."""
    scores = tf.stop_gradient(batch.y_pred)
    scores = tf.where(tf.math.is_nan(scores), tf.zeros_like(scores), scores)
    return RankingRows(
        batch.y_true, scores, batch.query, batch.num_queries, batch.weight, batch.owned
    )


def unique_softmax(
    y_true: TensorLike,
    y_pred: TensorLike,
    *,
    query_ids: TensorLike | None = None,
    mask: TensorLike | None = None,
    sample_weight: TensorLike | None = None,
    query_weight: TensorLike | None = None,
    weigh: Weigh = "rows",
    gains: Gains = "exponential",
    normalize: Normalize = "queries",
    temperature: float = 1.0,
) -> LossTerm:
    """Softmax loss in which each item competes with the less relevant ones only.

    For graded labels: relevant items do not push each other down. `O(rows log rows)`
    time and `O(rows)` memory, where TF-Ranking's and RAX's take `O(list_size ** 2)`.

    ```
    loss(query) = -sum_i (2 ** y_i - 1) * log(exp(s_i) / (exp(s_i) + lower_i))
    lower_i = sum_{j: y_j < y_i} exp(s_j)
    ```

    with scores `s` divided by `temperature`. Item weights multiply the gain `2 ** y_i - 1`.

    Args:
        y_true: Labels, not negative; shape `(rows,)` or `(rows, 1)`, or padded lists
            `(queries, list_size)`.
        y_pred: Scores, of the same number of entries. Computed in float64, returned in
            float32 (float64 scores: in float64).
        query_ids: Integer or string ids, shape `(rows,)`, in any order. `None` for
            padded lists.
        mask: Bool, of the shape of the labels; rows where it is `False` are ignored.
            Default: all count.
        sample_weight: One weight per item, of the shape of the labels. Default: 1.
        query_weight: One weight per query: shape `(queries,)` for padded lists;
            together with `query_ids` one per row, the same for all rows of a query. Default: 1.
        weigh: What `sample_weight` weighs: `"rows"` (default), or `"relevant"`: the query, by
            `sum w * y / sum y` of its rows, as TF-Ranking and Keras-RS weigh lists; labels must
            then not be negative.
        gains: `"exponential"` (default), `2**y - 1`; `"linear"`, `y`; a table with the gain of
            each label from 0 up (LightGBM's `label_gain`); or a function of the labels, a
            float64 tensor.
        normalize: `"queries"` (default), `"lists"` or `"rows"`, as in `softmax`.
        temperature: A number that divides the scores, above 0. Default 1.

    Returns:
        A `LossTerm`.

    Raises:
        TypeError: For ids that are neither integers nor strings.
        ValueError: As for `softmax`, for labels that a table of gains does not have, and above
            96 (float64 scores: 896), whose exponential gains no float32 holds.
        NotImplementedError: For a second derivative (its gradient is written by hand).

    Example:

    >>> term = unique_softmax([[1.0, 1.0, 0.0]], [[0.0, 0.0, 0.0]])
    >>> round(float(term.total), 4)  # 2 * log 2: each relevant item against the third
    1.3863

    Reference:
        Zhu and Klabjan, "Listwise Learning to Rank by Exploring Unique Ratings", 2020.
    """
    gains = as_gains(gains)
    require_choice("normalize", normalize, Normalize)
    batch = lists(
        y_true,
        y_pred,
        query_ids=query_ids,
        mask=mask,
        sample_weight=sample_weight,
        query_weight=query_weight,
        weigh=weigh,
        gains=gains,
        grows=True,
        temperature=temperature,
    )
    gain = batch.weighed(gains_of(gains, batch.y_true))
    order = query_order(batch.query, batch.y_true)
    query, label, score = (
        take(value, order) for value in (batch.query, batch.y_true, batch.y_pred)
    )
    suffix = log_cumsum_exp(score, query, reverse=True, segments=batch.segments)
    following = last_row_of_run(query, label) + 1
    inside = following < tf.shape(query)[0]
    following = tf.where(inside, following, tf.zeros_like(following))
    inside &= tf.gather(query, following) == query
    lower = take(suffix, following)
    nothing = tf.constant(-float("inf"), score.dtype)
    gap = tf.where(inside, lower, nothing) - score
    totals = batch.ordered(query).sum(take(gain, order) * tf.math.softplus(gap))
    return batch.term(totals, batch.sum(gain) != 0, normalize)
