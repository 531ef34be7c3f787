"""The likelihood of the order of the labels."""

from __future__ import annotations

from typing import Literal

import tensorflow as tf

from keras_trainsteps.losses.ranking.lists import Normalize, Weigh, lists
from keras_trainsteps.losses.ranking.segments import log_cumsum_exp, take
from keras_trainsteps.losses.ranking.ties import Seed, tie_keys
from keras_trainsteps.queries import Discount, as_discount, discounts_of, query_order
from keras_trainsteps.step.terms import LossTerm
from keras_trainsteps.validation import TensorLike, require_choice

Ties = Literal["stable", "random"]


def list_mle(
    y_true: TensorLike,
    y_pred: TensorLike,
    *,
    query_ids: TensorLike | None = None,
    mask: TensorLike | None = None,
    sample_weight: TensorLike | None = None,
    query_weight: TensorLike | None = None,
    weigh: Weigh = "rows",
    position_discount: Discount | None = None,
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
    item, and so does `position_discount`, of its place `i` from 1.

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
        weigh: What `sample_weight` weighs: `"rows"` (default), or `"relevant"`: the query, by
            `sum w * y / sum y` of its rows, as TF-Ranking and Keras-RS weigh lists; labels must
            then not be negative.
        position_discount: What a place leaves of its summand: `"log2"`, `1 / log2(1 + i)`;
            `"reciprocal"`, `1 / i`; or a function of the places, a float64 tensor: position-aware
            ListMLE, for whose head matters more than its tail. Default: all count the same.
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
        Xia et al., "Listwise Approach to Learning to Rank: Theory and Algorithm", 2008; places:
        Lan et al., "Position-Aware ListMLE: A Sequential Learning Process for Ranking", 2014.
    """
    require_choice("ties", ties, Ties)
    discount = None if position_discount is None else as_discount(position_discount)
    require_choice("normalize", normalize, Normalize)
    batch = lists(
        y_true,
        y_pred,
        query_ids=query_ids,
        mask=mask,
        sample_weight=sample_weight,
        query_weight=query_weight,
        weigh=weigh,
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
    if discount is not None:
        place = tf.range(tf.size(query))
        first = tf.math.unsorted_segment_min(place, query, batch.num_queries)
        place = place - tf.gather(first, tf.maximum(query, 0)) + 1
        losses *= discounts_of(discount, tf.where(query >= 0, place, 1))
    totals = ordered.sum(ordered.weighed(losses))
    return batch.term(totals, batch.rows_of_queries() > 1, normalize)
