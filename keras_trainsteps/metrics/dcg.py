"""Discounted cumulative gain by query, as it is and normalised."""

from __future__ import annotations

from typing import Any, Literal

import keras
import tensorflow as tf

from keras_trainsteps.metrics import gains
from keras_trainsteps.metrics.query_metric import NoRelevant
from keras_trainsteps.metrics.ranked_metric import RankedMetric
from keras_trainsteps.metrics.ranked_rows import RankedRows, Ties
from keras_trainsteps.metrics.split_queries import SplitQueries
from keras_trainsteps.queries import query_order, relative_gains

Gain = Literal["exponential", "linear"] | gains.Function
Discount = Literal["log2"] | gains.Function
LARGEST_GAIN = 1e280  # sums of these over any data are finite


class GainMetric(RankedMetric):
    """A metric of gains that ranks discount: what `DCG` and `NDCG` have in common."""

    label_rule = (
        "`y_true` must not be negative or NaN, nor of a gain above 1e280: labels are gains here",
        "Mark padding with the mask, not with a label of -1; scale large labels down.",
    )

    def __init__(
        self,
        query_ids: str | None = "query_id",
        *,
        k: int | None = None,
        mask: str | None = None,
        gain: Gain = "exponential",
        discount: Discount = "log2",
        ties: Ties = "average",
        seed: int = 0,
        no_relevant: NoRelevant = "zero",
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
            split_queries=split_queries,
            name=name,
        )
        self.gain, self.discount = gain, discount
        self._gain = gains.as_function("gain", gain, gains.GAINS)
        self._discount = gains.as_function("discount", discount, gains.DISCOUNTS)

    def valid_labels(self, y_true: tf.Tensor) -> tf.Tensor:
        gains = self.gains_of(y_true)
        return (gains >= 0) & (gains <= LARGEST_GAIN)

    def discounts(self, ranked: RankedRows) -> tf.Tensor:
        """What the rank of each row leaves of a gain, float64."""
        return tf.cast(self._discount(ranked.rank), tf.float64) * ranked.within(self.k)

    def gains_of(self, labels: tf.Tensor) -> tf.Tensor:
        """The gain of each label, float64."""
        return tf.cast(self._gain(tf.cast(labels, tf.float64)), tf.float64)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "gain": gains.to_config(self.gain),
            "discount": gains.to_config(self.discount),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> GainMetric:
        keys = {"gain", "discount"} & set(config)
        functions = {key: gains.from_config(config[key]) for key in keys}
        return cls(**{**config, **functions})


@keras.saving.register_keras_serializable("keras_trainsteps")
class DCG(GainMetric):
    """Discounted cumulative gain, averaged over queries.

    For what a ranking is worth in the units of the gains; `NDCG` compares it with the
    best that each query allows.

    ```
    DCG@k = sum over rows i with rank_i <= k of gain(y_i) * discount(rank_i)
    ```

    Args:
        query_ids: The name of the side input with the query ids, integers or strings, one
            per row. Default `"query_id"`. `None` for padded lists, `(queries, list_size)`.
        k: Ranks that count, at least 1. Default `None`: all.
        mask: The name of the side input with the mask, bool, one per row: rows where it is
            `False` are ignored. Default: none, and padded lists must have no negative label,
            as a -1 for padding.
        gain: `"exponential"` (default), `2**y - 1`; `"linear"`, `y`; or a function of the
            labels, a float64 tensor, with results that are not negative. A function is
            saved with the model if it is registered
            (`keras.saving.register_keras_serializable`).
        discount: `"log2"` (default), `1 / log2(1 + rank)`, or a function of the ranks, a
            float64 tensor from 1 up.
        ties: The rule for equal scores. `"average"` (default) is the mean over all orders, in
            closed form: a model that scores all rows alike gains nothing from how they lie.
            `"stable"` keeps the order of the rows, `"random"` draws one.
        seed: An integer, for random ties. Default 0. Orders differ from batch to batch
            and repeat when the metric is reset.
        no_relevant: What a query counts whose labels are all 0: `"zero"` (default), or
            `"skip"` to leave it out.
        split_queries: A query whose rows are in two batches: `"error"` (default) refuses it,
            `"count_parts"` counts each part as a query (see `QueryMetric`).
        name: Default `"dcg@k"`, or `"dcg"`.

    Returns:
        From `result()` a float64 scalar; 0 before any query, NaN after a NaN score.

    Raises:
        TypeError: For a `seed` that is no integer.
        ValueError: For `k` below 1 or an unknown option; from `update_state` for negative
            gains and NaN labels (under XLA the result is NaN), and as `QueryMetric`.

    Example:

    >>> metric = DCG(query_ids="query_id", k=1, gain="linear")
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
        gains = self.gains_of(ranked.y_true)
        discounts = ranked.expected(self.discounts(ranked))
        return ranked.sum(gains * discounts), ranked.sum(gains) > 0


@keras.saving.register_keras_serializable("keras_trainsteps")
class NDCG(GainMetric):
    """Normalized discounted cumulative gain, averaged over queries.

    ```
    NDCG@k = DCG@k / IDCG@k
    DCG@k = sum over rows i with rank_i <= k of gain(y_i) * discount(rank_i)
    ```

    `IDCG@k` is the DCG@k of the rows in descending order of their gains.

    Args:
        query_ids: The name of the side input with the query ids, integers or strings, one
            per row. Default `"query_id"`. `None` for padded lists, `(queries, list_size)`.
        k: Ranks that count, at least 1. Default `None`: all.
        mask: The name of the side input with the mask, bool, one per row: rows where it is
            `False` are ignored. Default: none, and padded lists must have no negative label,
            as a -1 for padding.
        gain: `"exponential"` (default), `2**y - 1`; `"linear"`, `y`; or a function of the
            labels, a float64 tensor, with results that are not negative. A function is
            saved with the model if it is registered
            (`keras.saving.register_keras_serializable`).
        discount: `"log2"` (default), `1 / log2(1 + rank)`, or a function of the ranks, a
            float64 tensor from 1 up. It must not grow with the rank.
        ties: The rule for equal scores. `"average"` (default) is the mean over all orders, in
            closed form: a model that scores all rows alike gains nothing from how they lie.
            `"stable"` keeps the order of the rows, `"random"` draws one.
        seed: An integer, for random ties. Default 0. Orders differ from batch to batch
            and repeat when the metric is reset.
        no_relevant: What a query counts whose labels are all 0: `"zero"` (default, as in
            TF-Ranking and Keras-RS), `"one"` (as in XGBoost and LightGBM), or `"skip"` to
            leave it out.
        split_queries: A query whose rows are in two batches: `"error"` (default) refuses it,
            `"count_parts"` counts each part as a query (see `QueryMetric`).
        name: Default `"ndcg@k"`, or `"ndcg"`.

    Returns:
        From `result()` a float64 scalar; 0 before any query, NaN after a NaN score.

    Raises:
        TypeError: For a `seed` that is no integer.
        ValueError: For `k` below 1 or an unknown option; from `update_state` for negative
            gains and NaN labels (under XLA the result is NaN), and as `QueryMetric`.

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
        if self.gain != "exponential":
            return super().valid_labels(y_true)
        return (y_true >= 0) & (y_true < float("inf"))

    def ranked_values(self, ranked: RankedRows) -> tuple[tf.Tensor, tf.Tensor]:
        labels = ranked.y_true
        if self.gain == "exponential":
            gains = relative_gains(labels, ranked.query, ranked.num_queries)
        else:
            gains = self.gains_of(labels)
        discounts = self.discounts(ranked)
        # The named gains grow with the label, which takes one sort where a gain may take two.
        ideal = query_order(ranked.query, labels if isinstance(self.gain, str) else gains)
        best = ranked.sum(tf.gather(gains, ideal) * discounts)
        found = ranked.sum(gains * ranked.expected(discounts))
        return tf.math.divide_no_nan(found, best), best > 0
