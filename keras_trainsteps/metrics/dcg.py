"""Discounted cumulative gain by query, as it is and normalised."""

from __future__ import annotations

from typing import Any, Literal

import keras
import tensorflow as tf

from keras_trainsteps.metrics.query_metric import NoRelevant
from keras_trainsteps.metrics.ranked_metric import RankedMetric
from keras_trainsteps.metrics.ranked_rows import RankedRows, Ties
from keras_trainsteps.metrics.relevant_weights import Weigh
from keras_trainsteps.metrics.split_queries import SplitQueries
from keras_trainsteps.queries import (
    Discount,
    Gains,
    RankingRows,
    as_discount,
    as_gains,
    discounts_of,
    gain_rule,
    gains_of,
    grow_with_labels,
    have_gains,
    query_order,
    relative_gains_of,
)
from keras_trainsteps.queries.gains import from_config, to_config


class GainMetric(RankedMetric):
    """A metric of gains that ranks discount: what `DCG` and `NDCG` have in common."""

    weighs_rows = True

    def __init__(
        self,
        query_ids: str | None = "query_id",
        *,
        k: int | None = None,
        mask: str | None = None,
        row_weight: str | None = None,
        gains: Gains = "exponential",
        discount: Discount = "log2",
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
            ties=ties,
            seed=seed,
            no_relevant=no_relevant,
            weigh=weigh,
            split_queries=split_queries,
            name=name,
        )
        self.gains, self.discount = as_gains(gains), as_discount(discount)
        self.label_rule, self.row_weight = gain_rule(self.gains), row_weight

    def worth(self, rows: RankingRows) -> tf.Tensor:
        counted = tf.where(rows.query >= 0, rows.y_true, tf.zeros_like(rows.y_true))
        return gains_of(self.gains, counted)

    def valid_labels(self, y_true: tf.Tensor) -> tf.Tensor:
        return have_gains(self.gains, y_true)

    def discounts(self, ranked: RankedRows) -> tf.Tensor:
        """What the place of each row leaves of a gain, float64."""
        return discounts_of(self.discount, ranked.rank) * ranked.first(self.k)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "row_weight": self.row_weight,
            "gains": to_config(self.gains),
            "discount": to_config(self.discount),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> GainMetric:
        if "gain" in config:  # its name until 0.1.0
            config = {("gains" if key == "gain" else key): config[key] for key in config}
        functions = {key: from_config(config[key]) for key in {"gains", "discount"} & set(config)}
        return cls(**{**config, **functions})


@keras.saving.register_keras_serializable("keras_trainsteps")
class DCG(GainMetric):
    """Discounted cumulative gain, averaged over queries.

    For what a ranking is worth in the units of the gains; `NDCG` compares it with the
    best that each query allows.

    ```
    DCG@k = sum over rows i with rank_i <= k of gain(y_i) * discount(rank_i)
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
        row_weight: The name of the side input with weights of rows within their query, which
            multiply the gains. Together with `weigh="relevant"` the DCG of a query is divided by
            the weight of the query, so that weights count once. Default: none.
        gains: `"exponential"` (default), `2**y - 1`; `"linear"`, `y`; a table with the gain of
            each label from 0 up, as `[0, 1, 3, 7]` (LightGBM's `label_gain`); or a function of
            the labels, a float64 tensor, with results that are not negative. A function is
            saved with the model if it is registered
            (`keras.saving.register_keras_serializable`).
        discount: `"log2"` (default), `1 / log2(1 + rank)`; `"reciprocal"`, `1 / rank`; or a
            function of the ranks, a float64 tensor from 1 up.
        ties: The rule for equal scores. `"average"` (default) is the mean over all orders, in
            closed form: a model that scores all rows alike gains nothing from how they lie.
            `"stable"` keeps the order of the rows, `"random"` draws one.
        seed: An integer, for random ties. Default 0. Orders differ from batch to batch
            and repeat when the metric is reset.
        no_relevant: What a query counts whose labels are all 0: `"zero"` (default), or
            `"skip"` to leave it out.
        weigh: What a query weighs as one of `weighted_metrics`: `"mean"` (default), the mean of
            its rows' `sample_weight`, or `"relevant"`, that of its relevant rows, as TF-Ranking
            and Keras-RS have it: `sum w * g / sum g`, with `g` the gain. A query without
            one weighs the average of the others.
        split_queries: A query whose rows are in two batches: `"error"` (default) refuses it,
            `"count_parts"` counts each part as a query (see `QueryMetric`).
        name: Default `"dcg@k"`, or `"dcg"`.

    Returns:
        From `result()` a float64 scalar; 0 before any query, NaN after a NaN score.

    Raises:
        TypeError: For a `seed` that is no integer.
        ValueError: For `k` below 1 or an unknown option; from `update_state` for negative
            gains, NaN labels and labels above a table of gains (under XLA the result is NaN),
            and as `QueryMetric`.

    Example:

    >>> metric = DCG(query_ids="query_id", k=1, gains="linear")
    >>> metric.update_state([0.0, 3.0, 1.0], [2.0, 1.0, 3.0], query_ids=[5, 5, 6])
    >>> float(metric.result())
    0.5
    >>> from keras_trainsteps import LossAwareSequential
    >>> model = LossAwareSequential([keras.layers.Dense(1)])
    >>> model.compile("adam", "mse", metrics=[DCG(k=10)])

    Reference:
        Jaervelin and Kekaelaeinen, "Cumulated gain-based evaluation of IR techniques",
        2002; exponential gains: Burges et al., "Learning to rank using gradient descent",
        2005; ties: McSherry and Najork, "Computing information retrieval performance
        measures efficiently in the presence of tied scores", 2008.
    """

    default_name = "dcg"
    no_relevant_choices = Literal["zero", "skip"]

    def ranked_values(self, ranked: RankedRows) -> tuple[tf.Tensor, tf.Tensor]:
        plain = gains_of(self.gains, ranked.y_true)
        gains = ranked.weighed(plain)
        discounts = ranked.expected(ranked.of_retrieved(self.discounts(ranked)))
        found, worth = ranked.sum(gains * discounts), ranked.sum(gains)
        if ranked.row_weight is not None and self.weigh == "relevant":
            # The query weighs the same again.
            found *= tf.math.divide_no_nan(ranked.sum(plain), worth)
        return found, worth > 0


@keras.saving.register_keras_serializable("keras_trainsteps")
class NDCG(GainMetric):
    """Normalized discounted cumulative gain, averaged over queries.

    ```
    NDCG@k = DCG@k / IDCG@k
    DCG@k = sum over rows i with rank_i <= k of gain(y_i) * discount(rank_i)
    ```

    `IDCG@k` is the DCG@k of the rows in descending order of their gains.

    A row whose score is minus infinity was not retrieved: as for trec_eval it is at no rank,
    and counts in `IDCG` alone.

    Args:
        query_ids: The name of the side input with the query ids, integers or strings, one
            per row. Default `"query_id"`. `None` for padded lists, `(queries, list_size)`.
        k: Ranks that count, at least 1. Default `None`: all.
        mask: The name of the side input with the mask, bool, one per row: rows where it is
            `False` are ignored. Default: none, and padded lists must have no negative label,
            as a -1 for padding.
        row_weight: The name of the side input with weights of rows within their query, which
            multiply the gains, also of the best order. Default: none.
        gains: `"exponential"` (default), `2**y - 1`; `"linear"`, `y`; a table with the gain of
            each label from 0 up, as `[0, 1, 3, 7]` (LightGBM's `label_gain`); or a function of
            the labels, a float64 tensor, with results that are not negative. A function is
            saved with the model if it is registered
            (`keras.saving.register_keras_serializable`).
        discount: `"log2"` (default), `1 / log2(1 + rank)`; `"reciprocal"`, `1 / rank`; or a
            function of the ranks, a float64 tensor from 1 up. It must not grow with the rank.
        ties: The rule for equal scores. `"average"` (default) is the mean over all orders, in
            closed form: a model that scores all rows alike gains nothing from how they lie.
            `"stable"` keeps the order of the rows, `"random"` draws one.
        seed: An integer, for random ties. Default 0. Orders differ from batch to batch
            and repeat when the metric is reset.
        no_relevant: What a query counts whose labels are all 0: `"zero"` (default, as in
            TF-Ranking and Keras-RS), `"one"` (as in XGBoost and LightGBM), or `"skip"` to
            leave it out.
        weigh: What a query weighs as one of `weighted_metrics`: `"mean"` (default), the mean of
            its rows' `sample_weight`, or `"relevant"`, that of its relevant rows, as TF-Ranking
            and Keras-RS have it: `sum w * g / sum g`, with `g` the gain. A query without
            one weighs the average of the others.
        split_queries: A query whose rows are in two batches: `"error"` (default) refuses it,
            `"count_parts"` counts each part as a query (see `QueryMetric`).
        name: Default `"ndcg@k"`, or `"ndcg"`.

    Returns:
        From `result()` a float64 scalar; 0 before any query, NaN after a NaN score.

    Raises:
        TypeError: For a `seed` that is no integer.
        ValueError: For `k` below 1 or an unknown option; from `update_state` for negative
            gains, NaN labels and labels above a table of gains (under XLA the result is NaN),
            and as `QueryMetric`.

    Example:

    >>> metric = NDCG(query_ids="query_id", k=1)
    >>> metric.update_state([0.0, 1.0, 1.0], [2.0, 1.0, 3.0], query_ids=[5, 5, 6])
    >>> float(metric.result())
    0.5
    >>> from keras_trainsteps import LossAwareSequential
    >>> model = LossAwareSequential([keras.layers.Dense(1)])
    >>> model.compile("adam", "mse", metrics=[NDCG(query_ids="user", k=10)])

    Reference:
        Jaervelin and Kekaelaeinen, "Cumulated gain-based evaluation of IR techniques",
        2002; exponential gains: Burges et al., "Learning to rank using gradient descent",
        2005; ties: McSherry and Najork, "Computing information retrieval performance
        measures efficiently in the presence of tied scores", 2008.
    """

    default_name = "ndcg"

    def valid_labels(self, y_true: tf.Tensor) -> tf.Tensor:
        if self.gains != "exponential":
            return super().valid_labels(y_true)
        return (y_true >= 0) & (y_true < float("inf"))

    def ranked_values(self, ranked: RankedRows) -> tuple[tf.Tensor, tf.Tensor]:
        labels = ranked.y_true
        gains = relative_gains_of(self.gains, labels, ranked.query, ranked.num_queries)
        gains = ranked.weighed(gains)
        discounts = self.discounts(ranked)
        # Sorting labels takes one sort where sorting gains may take two.
        by_label = grow_with_labels(self.gains) and ranked.row_weight is None
        ideal = query_order(ranked.query, labels if by_label else gains)
        best = ranked.sum(tf.gather(gains, ideal) * discounts)
        found = ranked.sum(gains * ranked.expected(ranked.of_retrieved(discounts)))
        return tf.math.divide_no_nan(found, best), best > 0
