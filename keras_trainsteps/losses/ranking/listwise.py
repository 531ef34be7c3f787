"""Listwise ranking losses over whole permutations or top-one probabilities."""

from __future__ import annotations

from typing import Literal

import tensorflow as tf

from keras_trainsteps.losses.ranking.lists import Normalize, lists
from keras_trainsteps.losses.ranking.segments import (
    last_row_of_run,
    log_cumsum_exp,
    take,
)
from keras_trainsteps.losses.ranking.ties import Seed, tie_keys
from keras_trainsteps.queries import Gains, as_gains, gains_of, query_order
from keras_trainsteps.step.terms import LossTerm
from keras_trainsteps.validation import TensorLike, require_choice

Labels = Literal["given", "normalized", "softmax"]
Ties = Literal["stable", "random"]


def softmax(
    y_true: TensorLike,
    y_pred: TensorLike,
    *,
    query_ids: TensorLike | None = None,
    mask: TensorLike | None = None,
    sample_weight: TensorLike | None = None,
    query_weight: TensorLike | None = None,
    labels: Labels = "given",
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
    (`"softmax"`, the top-one probabilities of the ListNet paper). Item weights multiply
    `y_i`; with `"softmax"` they multiply `p_i`.

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
        labels: How labels become probabilities. Default `"given"`: RAX's and TF-Ranking's.
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
    require_choice("labels", labels, Labels)
    require_choice("normalize", normalize, Normalize)
    batch = lists(
        y_true,
        y_pred,
        query_ids=query_ids,
        mask=mask,
        sample_weight=sample_weight,
        query_weight=query_weight,
        gains=labels != "softmax",
        temperature=temperature,
    )
    if labels == "softmax":
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


def unique_softmax(
    y_true: TensorLike,
    y_pred: TensorLike,
    *,
    query_ids: TensorLike | None = None,
    mask: TensorLike | None = None,
    sample_weight: TensorLike | None = None,
    query_weight: TensorLike | None = None,
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


def list_mle(
    y_true: TensorLike,
    y_pred: TensorLike,
    *,
    query_ids: TensorLike | None = None,
    mask: TensorLike | None = None,
    sample_weight: TensorLike | None = None,
    query_weight: TensorLike | None = None,
    ties: Ties = "stable",
    seed: Seed = None,
    normalize: Normalize = "queries",
    temperature: float = 1.0,
) -> LossTerm:
    """The negative log-likelihood of the labels' order (ListMLE, Plackett-Luce).

    For full rankings: the whole order counts, not only its head. `O(rows log rows)` time
    and `O(rows)` memory. With the rows of a query in descending order of label,

    ```
    loss(query) = sum_i (log(sum_{j >= i} exp(s_j)) - s_i)
    ```

    with scores `s` divided by `temperature`. Item weights multiply the summand of their
    item.

    Args:
        y_true: Labels, any numbers; shape `(rows,)` or `(rows, 1)`, or padded lists
            `(queries, list_size)`. Compared in float64. Padded lists without a `mask` must
            have no negative one, as a -1 for padding.
        y_pred: Scores, of the same number of entries. Computed in float64, returned in
            float32 (float64 scores: in float64).
        query_ids: Integer or string ids, shape `(rows,)`, in any order. `None` for
            padded lists.
        mask: Bool, of the shape of the labels; rows where it is `False` are ignored.
            Default: all count.
        sample_weight: One weight per item, of the shape of the labels. Default: 1.
        query_weight: One weight per query: shape `(queries,)` for padded lists;
            together with `query_ids` one per row, the same for all rows of a query. Default: 1.
        ties: The order of equal labels. `"stable"` (default, since it is reproducible):
            the order of the rows. `"random"`: an order drawn for each call, which keeps
            the order of the file from being learned.
        seed: For `ties="random"`: an integer (the same draw at each call), a
            `keras.random.SeedGenerator` (a new draw at each call, reproducible), or
            `None` (drawn from the global generator of `keras.random`).
        normalize: `"queries"` (default): the weights of the queries with two rows or
            more, since one row has no order. `"lists"` (every query with a row, as
            Keras-RS and TF-Ranking divide) or `"rows"`, as in `softmax`.
        temperature: A number that divides the scores, above 0. Default 1.

    Returns:
        A `LossTerm`.

    Raises:
        TypeError: For ids that are neither integers nor strings.
        ValueError: As for `softmax`; with ids or a `mask` labels may be negative.
        NotImplementedError: For a second derivative (its gradient is written by hand).

    Example:

    >>> term = list_mle([[3.0, 2.0, 1.0]], [[0.0, 0.0, 0.0]])
    >>> round(float(term.total), 4)  # log 3 + log 2 + log 1
    1.7918

    Reference:
        Xia et al., "Listwise Approach to Learning to Rank: Theory and Algorithm", 2008.
    """
    require_choice("ties", ties, Ties)
    require_choice("normalize", normalize, Normalize)
    batch = lists(
        y_true,
        y_pred,
        query_ids=query_ids,
        mask=mask,
        sample_weight=sample_weight,
        query_weight=query_weight,
        gains=False,
        temperature=temperature,
    )
    first = tf.argsort(tie_keys(tf.shape(batch.query), seed)) if ties == "random" else None
    order = query_order(batch.query, batch.y_true, first)
    query, score = take(batch.query, order), take(batch.y_pred, order)
    ordered = batch.ordered(query)
    if batch.weight is not None:
        ordered = ordered._replace(weight=take(batch.weight, order))
    shifted = score - ordered.at_rows(ordered.maximum(score))
    sums = log_cumsum_exp(shifted, query, reverse=True, segments=batch.segments)
    losses = sums - shifted
    totals = ordered.sum(ordered.weighed(losses))
    return batch.term(totals, batch.rows_of_queries() > 1, normalize)
