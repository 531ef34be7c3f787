"""Metrics of how many relevant rows are among the first k: precision and recall."""

from __future__ import annotations

from typing import Any, Literal

import keras
import tensorflow as tf

from keras_trainsteps.metrics.query_metric import NoRelevant
from keras_trainsteps.metrics.ranked_metric import AtK
from keras_trainsteps.metrics.ranked_rows import RankedRows, Ties
from keras_trainsteps.metrics.relevant_weights import Weigh
from keras_trainsteps.metrics.split_queries import SplitQueries
from keras_trainsteps.validation import require_choice

PrecisionNormalize = Literal["k", "rows"]


@keras.saving.register_keras_serializable("keras_trainsteps")
class PrecisionAtK(AtK):
    """The share of relevant rows among the first `k` of a query, averaged over queries.

    A row is relevant if its label is at least `relevant_from`, or above 0.

    ```
    P@k = |{i: y_i > 0 and rank_i <= k}| / k
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
        normalize: What a query of fewer than `k` rows is divided by: `"k"` (default, the
            published definition), or `"rows"`, their number (as in Keras-RS).
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
        name: Default `"precision@k"`.

    Returns:
        From `result()` a float64 scalar; 0 before any query, NaN after a NaN score.

    Raises:
        TypeError: For a `seed` that is no integer.
        ValueError: For `k` below 1 or an unknown option; from `update_state` for NaN
            labels (under XLA the result is NaN), and as `QueryMetric`; at the end of an epoch
            of a model, where no label reaches `relevant_from`.

    Example:

    >>> metric = PrecisionAtK(query_ids="query_id", k=2)
    >>> metric.update_state([0, 1, 1], [3.0, 2.0, 1.0], query_ids=[5, 5, 5])
    >>> float(metric.result())
    0.5
    >>> from keras_trainsteps import LossAwareSequential
    >>> model = LossAwareSequential([keras.layers.Dense(1)])
    >>> model.compile("adam", "mse", metrics=[PrecisionAtK(k=10)])

    Reference:
        Manning, Raghavan and Schuetze, "Introduction to Information Retrieval", 2008,
        section 8.4; ties: McSherry and Najork, "Computing information retrieval
        performance measures efficiently in the presence of tied scores", 2008.
    """

    default_name = "precision"

    def __init__(
        self,
        query_ids: str | None = "query_id",
        *,
        k: int,
        mask: str | None = None,
        relevant_from: float | None = None,
        normalize: PrecisionNormalize = "k",
        ties: Ties = "average",
        seed: int = 0,
        no_relevant: NoRelevant = "zero",
        weigh: Weigh = "mean",
        split_queries: SplitQueries = "error",
        name: str | None = None,
    ) -> None:
        super().__init__(
            query_ids,
            k=k,
            mask=mask,
            relevant_from=relevant_from,
            ties=ties,
            seed=seed,
            no_relevant=no_relevant,
            weigh=weigh,
            split_queries=split_queries,
            name=name,
        )
        require_choice("normalize", normalize, PrecisionNormalize)
        self.normalize = normalize

    def ranked_values(self, ranked: RankedRows) -> tuple[tf.Tensor, tf.Tensor]:
        within = ranked.within(self.k)
        found = ranked.sum(ranked.relevant * ranked.expected(within))
        rows = tf.cast(self.k, tf.float64) if self.normalize == "k" else ranked.sum(within)
        return tf.math.divide_no_nan(found, rows), ranked.sum(ranked.relevant) > 0

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "normalize": self.normalize}


@keras.saving.register_keras_serializable("keras_trainsteps")
class RecallAtK(AtK):
    """The share of a query's relevant rows that are among its first `k`, over queries.

    A row is relevant if its label is at least `relevant_from`, or above 0.

    ```
    R@k = |{i: y_i > 0 and rank_i <= k}| / |{i: y_i > 0}|
    ```

    A row whose score is minus infinity was not retrieved: as for trec_eval it is at no rank,
    and counts among the relevant rows alone.

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
        name: Default `"recall@k"`.

    Returns:
        From `result()` a float64 scalar; 0 before any query, NaN after a NaN score.

    Raises:
        TypeError: For a `seed` that is no integer.
        ValueError: For `k` below 1 or an unknown option; from `update_state` for NaN
            labels (under XLA the result is NaN), and as `QueryMetric`; at the end of an epoch
            of a model, where no label reaches `relevant_from`.

    Example:

    >>> metric = RecallAtK(query_ids="query_id", k=1)
    >>> metric.update_state([0, 1, 1], [1.0, 2.0, 3.0], query_ids=[5, 5, 5])
    >>> float(metric.result())
    0.5
    >>> from keras_trainsteps import LossAwareSequential
    >>> model = LossAwareSequential([keras.layers.Dense(1)])
    >>> model.compile("adam", "mse", metrics=[RecallAtK(k=10)])

    Reference:
        Manning, Raghavan and Schuetze, "Introduction to Information Retrieval", 2008,
        section 8.4; ties: McSherry and Najork, "Computing information retrieval
        performance measures efficiently in the presence of tied scores", 2008.
    """

    default_name = "recall"

    def ranked_values(self, ranked: RankedRows) -> tuple[tf.Tensor, tf.Tensor]:
        found = ranked.sum(ranked.relevant * ranked.expected(ranked.within(self.k)))
        relevant = ranked.sum(ranked.relevant)
        return tf.math.divide_no_nan(found, relevant), relevant > 0
