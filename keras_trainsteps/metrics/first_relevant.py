"""Metrics of where the first relevant row of a query is: MRR and hit rate."""

from __future__ import annotations

import keras
import tensorflow as tf

from keras_trainsteps.metrics.ranked_metric import AtK, RelevanceMetric
from keras_trainsteps.metrics.ranked_rows import RankedRows
from keras_trainsteps.metrics.tie_runs import at_first_relevant


@keras.saving.register_keras_serializable("keras_trainsteps")
class MRR(RelevanceMetric):
    """Mean reciprocal rank: 1 over the rank of the first relevant row, over queries.

    For queries with one right answer. A row is relevant if its label is at least
    `relevant_from`, or above 0.

    ```
    RR@k = 1 / min(rank_i over rows i with y_i > 0), or 0 if that rank is above k
    ```

    A row whose score is minus infinity was not retrieved: as for trec_eval it is at no rank,
    and counts for nothing.

    Args:
        query_ids: The name of the side input with the query ids, integers or strings, one
            per row. Default `"query_id"`. `None` for padded lists, `(queries, list_size)`.
        k: Ranks that count, at least 1. Default `None`: all.
        mask: The name of the side input with the mask, bool, one per row: rows where it is
            `False` are ignored. Default: none, and padded lists must have no negative label,
            as a -1 for padding.
        relevant_from: The lowest label that is relevant. Default `None`: every label above 0;
            labels other than 0 and 1 are then named in a warning.
        ties: The rule for equal scores. `"average"` (default) is the mean over all orders, in
            closed form: a model that scores all rows alike gains nothing from how they lie.
            `"stable"` keeps the order of the rows, `"random"` draws one.
        seed: An integer, for random ties. Default 0. Orders differ from batch to batch
            and repeat when the metric is reset.
        no_relevant: What a query without a relevant row counts: `"zero"` (default),
            `"one"`, or `"skip"` to leave it out.
        weigh: What a query weighs as one of `weighted_metrics`: `"mean"` (default), the mean of
            its rows' `sample_weight`, or `"relevant"`, that of its relevant rows, as TF-Ranking
            and Keras-RS have it: `sum w * g / sum g`, with `g` 1 for a relevant row, else 0.
            A query without one weighs the average of the others.
        split_queries: A query whose rows are in two batches: `"error"` (default) refuses it,
            `"count_parts"` counts each part as a query (see `QueryMetric`).
        name: Default `"mrr"`, or `"mrr@k"`.

    Returns:
        From `result()` a float64 scalar; 0 before any query, NaN after a NaN score.

    Raises:
        TypeError: For a `seed` that is no integer.
        ValueError: For `k` below 1 or an unknown option; from `update_state` for NaN
            labels (under XLA the result is NaN), and as `QueryMetric`; at the end of an epoch
            of a model, where no label reaches `relevant_from`.

    Example:

    >>> metric = MRR(query_ids="query_id")
    >>> metric.update_state([0, 1, 1], [3.0, 2.0, 1.0], query_ids=[5, 5, 5])
    >>> float(metric.result())
    0.5
    >>> from keras_trainsteps import LossAwareSequential
    >>> model = LossAwareSequential([keras.layers.Dense(1)])
    >>> model.compile("adam", "mse", metrics=[MRR(k=10)])

    Reference:
        Voorhees, "The TREC-8 question answering track report", 1999; ties: McSherry and
        Najork, "Computing information retrieval performance measures efficiently in the
        presence of tied scores", 2008.
    """

    default_name = "mrr"

    def ranked_values(self, ranked: RankedRows) -> tuple[tf.Tensor, tf.Tensor]:
        return at_first_relevant(ranked, lambda rank: ranked.first(self.k, rank) / rank)


@keras.saving.register_keras_serializable("keras_trainsteps")
class HitRateAtK(AtK):
    """The share of queries with a relevant row among the first `k`.

    Also called hits@k, or success@k. A row is relevant if its label is at least
    `relevant_from`, or above 0.

    ```
    hit@k = 1 if any row i has y_i > 0 and rank_i <= k, else 0
    ```

    A row whose score is minus infinity was not retrieved: as for trec_eval it is at no rank,
    and counts for nothing.

    Args:
        query_ids: The name of the side input with the query ids, integers or strings, one
            per row. Default `"query_id"`. `None` for padded lists, `(queries, list_size)`.
        k: Ranks that count, at least 1. Required.
        mask: The name of the side input with the mask, bool, one per row: rows where it is
            `False` are ignored. Default: none, and padded lists must have no negative label,
            as a -1 for padding.
        relevant_from: The lowest label that is relevant. Default `None`: every label above 0;
            labels other than 0 and 1 are then named in a warning.
        ties: The rule for equal scores. `"average"` (default) is the mean over all orders, in
            closed form: a model that scores all rows alike gains nothing from how they lie.
            `"stable"` keeps the order of the rows, `"random"` draws one.
        seed: An integer, for random ties. Default 0. Orders differ from batch to batch
            and repeat when the metric is reset.
        no_relevant: What a query without a relevant row counts: `"zero"` (default),
            `"one"`, or `"skip"` to leave it out.
        weigh: What a query weighs as one of `weighted_metrics`: `"mean"` (default), the mean of
            its rows' `sample_weight`, or `"relevant"`, that of its relevant rows, as TF-Ranking
            and Keras-RS have it: `sum w * g / sum g`, with `g` 1 for a relevant row, else 0.
            A query without one weighs the average of the others.
        split_queries: A query whose rows are in two batches: `"error"` (default) refuses it,
            `"count_parts"` counts each part as a query (see `QueryMetric`).
        name: Default `"hit_rate@k"`.

    Returns:
        From `result()` a float64 scalar; 0 before any query, NaN after a NaN score.

    Raises:
        TypeError: For a `seed` that is no integer.
        ValueError: For `k` below 1 or an unknown option; from `update_state` for NaN
            labels (under XLA the result is NaN), and as `QueryMetric`; at the end of an epoch
            of a model, where no label reaches `relevant_from`.

    Example:

    >>> metric = HitRateAtK(query_ids="query_id", k=1)
    >>> metric.update_state([0, 1, 1], [3.0, 2.0, 1.0], query_ids=[5, 5, 6])
    >>> float(metric.result())
    0.5
    >>> from keras_trainsteps import LossAwareSequential
    >>> model = LossAwareSequential([keras.layers.Dense(1)])
    >>> model.compile("adam", "mse", metrics=[HitRateAtK(k=10)])

    Reference:
        Deshpande and Karypis, "Item-based top-N recommendation algorithms", 2004.
    """

    default_name = "hit_rate"

    def ranked_values(self, ranked: RankedRows) -> tuple[tf.Tensor, tf.Tensor]:
        return at_first_relevant(ranked, lambda rank: ranked.first(self.k, rank))
