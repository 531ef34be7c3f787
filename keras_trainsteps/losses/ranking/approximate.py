"""Ranking metrics made differentiable: ranks become sums of sigmoids."""

from __future__ import annotations

import tensorflow as tf

from keras_trainsteps.losses.ranking.lists import Lists, Normalize, Weigh, lists
from keras_trainsteps.losses.ranking.soft_ranks import soft_ranks
from keras_trainsteps.queries import Gains, as_gains, places, query_order, relative_gains_of
from keras_trainsteps.step.terms import LossTerm, ratio
from keras_trainsteps.validation import TensorLike, require_choice, require_positive


def approx_ndcg(
    y_true: TensorLike,
    y_pred: TensorLike,
    *,
    query_ids: TensorLike | None = None,
    mask: TensorLike | None = None,
    sample_weight: TensorLike | None = None,
    query_weight: TensorLike | None = None,
    weigh: Weigh = "rows",
    gains: Gains = "exponential",
    temperature: float = 0.1,
    normalize: Normalize = "queries",
) -> LossTerm:
    """Minus the NDCG of soft ranks (ApproxNDCG).

    For graded labels where NDCG itself is the goal. Time grows with the squares of the
    list sizes, memory does not; under XLA time grows with the square of the rows, but for
    padded lists.

    ```
    loss(query) = -sum_i (2 ** y_i - 1) / log2(1 + rank_i) / max_dcg
    rank_i = 1 + sum_{j != i} sigmoid((s_j - s_i) / temperature)
    ```

    where `max_dcg` is the DCG of the best order. Item weights multiply the gains
    `2 ** y_i - 1`, also in `max_dcg`.

    Args:
        y_true: Labels, not negative; shape `(rows,)` or `(rows, 1)`, or padded lists
            `(queries, list_size)`.
        y_pred: Scores, of the same number of entries. Ranks are computed in float32
            (float64 scores: in float64).
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
        temperature: Width of the sigmoid, in units of the scores; smaller is closer to
            NDCG and flatter between steps. Default 0.1, TF-Ranking's.
        normalize: The count. `"queries"` (default, since a query without a relevant item
            has no NDCG): the weights of the queries with a relevant item. `"lists"`: of
            all queries with a row, as RAX divides; TF-Ranking's Keras losses also count
            fully masked lists. `"rows"`: the weights of the rows.

    Returns:
        A `LossTerm`, between -1 and 0 a query.

    Raises:
        TypeError: For ids that are neither integers nor strings.
        ValueError: For shapes that do not fit, a `temperature` that is not positive, an
            unknown option, and, except under XLA, for labels or weights that are NaN or
            negative, and labels that a table of gains does not have.
        NotImplementedError: For a second derivative (its gradient is written by hand).

    Example:

    >>> term = approx_ndcg([[1.0, 0.0]], [[5.0, 0.0]])
    >>> round(float(term.value), 4)  # the relevant item is first
    -1.0

    Reference:
        Qin, Liu and Li, "A General Approximation Framework for Direct Optimization of
        Information Retrieval Measures", 2010.
    """
    gains = as_gains(gains)
    require_positive("temperature", temperature)
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
    )
    gain = batch.weighed(relative_gains_of(gains, batch.y_true, batch.query, batch.num_queries))
    dcg = batch.sum(gain * _discount(_soft_ranks(batch, temperature)))
    best = batch.sum(gain * _discount(_best_ranks(batch, gain)))
    totals = -ratio(dcg, best)
    return batch.term(totals, best != 0, normalize)


def approx_mrr(
    y_true: TensorLike,
    y_pred: TensorLike,
    *,
    query_ids: TensorLike | None = None,
    mask: TensorLike | None = None,
    sample_weight: TensorLike | None = None,
    query_weight: TensorLike | None = None,
    weigh: Weigh = "rows",
    temperature: float = 0.1,
    normalize: Normalize = "queries",
) -> LossTerm:
    """Minus the mean reciprocal soft rank of the relevant items (ApproxMRR).

    For queries with one relevant item; with several it is the mean of their reciprocal
    ranks, weighted by label, as in TF-Ranking and RAX. Time grows with the squares of
    the list sizes, memory does not; under XLA time grows with the square of the rows, but
    for padded lists.

    ```
    loss(query) = -sum_i (y_i / sum_j y_j) / rank_i
    rank_i = 1 + sum_{j != i} sigmoid((s_j - s_i) / temperature)
    ```

    Item weights multiply the labels.

    Args:
        y_true: Labels, not negative; shape `(rows,)` or `(rows, 1)`, or padded lists
            `(queries, list_size)`.
        y_pred: Scores, of the same number of entries. Ranks are computed in float32
            (float64 scores: in float64).
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
        temperature: Width of the sigmoid, in units of the scores. Default 0.1,
            TF-Ranking's.
        normalize: `"queries"` (default), `"lists"` or `"rows"`, as in `approx_ndcg`.

    Returns:
        A `LossTerm`, between -1 and 0 a query.

    Raises:
        TypeError: For ids that are neither integers nor strings.
        ValueError: As for `approx_ndcg`.
        NotImplementedError: For a second derivative (its gradient is written by hand).

    Example:

    >>> term = approx_mrr([0.0, 1.0], [5.0, 0.0], query_ids=["q", "q"])
    >>> round(float(term.value), 4)  # the relevant item is second
    -0.5

    Reference:
        Qin, Liu and Li, "A General Approximation Framework for Direct Optimization of
        Information Retrieval Measures", 2010.
    """
    require_positive("temperature", temperature)
    require_choice("normalize", normalize, Normalize)
    batch = lists(
        y_true,
        y_pred,
        query_ids=query_ids,
        mask=mask,
        sample_weight=sample_weight,
        query_weight=query_weight,
        weigh=weigh,
        gains=True,
    )
    label = batch.weighed(batch.y_true)
    label_sum = batch.sum(label)
    reciprocal = batch.sum(label / _soft_ranks(batch, temperature))
    totals = -ratio(reciprocal, label_sum)
    return batch.term(totals, label_sum != 0, normalize)


def _soft_ranks(batch: Lists, temperature: float) -> tf.Tensor:
    scores = tf.cast(batch.y_pred, batch.dtype)
    ranks = soft_ranks(scores, batch.query, temperature, list_size=batch.list_size)
    return tf.cast(ranks, tf.float64)


def _best_ranks(batch: Lists, gain: tf.Tensor) -> tf.Tensor:
    """Each row's rank, from 1, in its query's descending order of gain."""
    place = places(query_order(batch.query, gain))
    first = tf.math.unsorted_segment_min(place, batch.query, batch.num_queries)
    return tf.cast(place - batch.at_rows(first) + 1, tf.float64)


def _discount(ranks: tf.Tensor) -> tf.Tensor:
    return tf.math.log(tf.constant(2.0, ranks.dtype)) / tf.math.log1p(ranks)
