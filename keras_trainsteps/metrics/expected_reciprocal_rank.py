"""The reciprocal rank at which a reader of graded rows is satisfied, by query."""

from __future__ import annotations

from typing import Any, Literal

import keras
import tensorflow as tf

from keras_trainsteps.metrics.query_metric import NoRelevant
from keras_trainsteps.metrics.ranked_metric import RankedMetric
from keras_trainsteps.metrics.ranked_rows import RankedRows, Ties
from keras_trainsteps.metrics.relevant_weights import Weigh
from keras_trainsteps.metrics.split_queries import SplitQueries
from keras_trainsteps.metrics.tie_runs import running_products, symmetric_means
from keras_trainsteps.queries import exponential
from keras_trainsteps.validation import require_positive


@keras.saving.register_keras_serializable("keras_trainsteps")
class ERR(RankedMetric):
    """Expected reciprocal rank: 1 over the rank at which a reader stops, over queries.

    For graded labels where one good row makes those below it needless.

    ```
    ERR@k = sum over rows i with rank_i <= k of p_i / rank_i * prod_i
    prod_i = product over the rows j above i of (1 - p_j)
    p = (2 ** y - 1) / 2 ** highest_label
    ```

    A row whose score is minus infinity is at no rank. Time grows with the longest run of equal
    scores, where there are any.

    Args:
        query_ids: The name of the side input with the query ids, integers or strings, one
            per row. Default `"query_id"`. `None` for padded lists, `(queries, list_size)`.
        k: Ranks that count, at least 1. Default `None`: all.
        highest_label: The highest label there can be, above 0, at which a reader nearly surely
            stops: 4 for grades 0 to 4. Required.
        mask: The name of the side input with the mask, bool, one per row: rows where it is
            `False` are ignored. Default: none, and padded lists must have no negative label,
            as a -1 for padding.
        ties: The rule for equal scores. `"average"` (default) is the mean over all orders, in
            closed form: a model that scores all rows alike gains nothing from how they lie.
            `"stable"` keeps the order of the rows, `"random"` draws one.
        seed: An integer, for random ties. Default 0. Orders differ from batch to batch
            and repeat when the metric is reset.
        no_relevant: What a query whose labels are all 0 counts: `"zero"` (default), or
            `"skip"` to leave it out.
        weigh: What a query weighs as one of `weighted_metrics`: `"mean"` (default), the mean of
            its rows' `sample_weight`, or `"relevant"`, that of its relevant rows, as TF-Ranking
            and Keras-RS have it: `sum w * g / sum g`, with `g` 1 for a label above 0, else 0.
            A query without one weighs the average of the others.
        split_queries: A query whose rows are in two batches: `"error"` (default) refuses it,
            `"count_parts"` counts each part as a query (see `QueryMetric`).
        name: Default `"err"`, or `"err@k"`.

    Returns:
        From `result()` a float64 scalar; 0 before any query, NaN after a NaN score.

    Raises:
        TypeError: For a `seed` that is no integer.
        ValueError: For `k` below 1, a `highest_label` that is not above 0 or an unknown option;
            from `update_state` for labels that are negative, NaN or above `highest_label` (under
            XLA the result is NaN), and as `QueryMetric`.

    Example:

    >>> metric = ERR(query_ids="query_id", highest_label=1)
    >>> metric.update_state([1, 0, 1], [3.0, 2.0, 1.0], query_ids=[5, 5, 5])
    >>> round(float(metric.result()), 6)  # 1 / 2 + (1 - 1 / 2) / 2 / 3
    0.583333
    >>> from keras_trainsteps import LossAwareSequential
    >>> model = LossAwareSequential([keras.layers.Dense(1)])
    >>> model.compile("adam", "mse", metrics=[ERR(k=20, highest_label=4)])

    Reference:
        Chapelle, Metzler, Zhang and Grinspan, "Expected reciprocal rank for graded relevance",
        2009; `gdeval.pl` of TREC has a `highest_label` of 4.
    """

    default_name = "err"
    no_relevant_choices = Literal["zero", "skip"]

    def __init__(
        self,
        query_ids: str | None = "query_id",
        *,
        highest_label: float,
        k: int | None = None,
        mask: str | None = None,
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
        require_positive("highest_label", highest_label)
        self.highest_label = float(highest_label)
        self.label_rule = (
            f"`y_true` must be from 0 to `highest_label`, {self.highest_label:g}",
            "Give the highest label there can be; mark padding with the mask.",
        )

    def valid_labels(self, y_true: tf.Tensor) -> tf.Tensor:
        return (y_true >= 0) & (y_true <= self.highest_label)

    def ranked_values(self, ranked: RankedRows) -> tuple[tf.Tensor, tf.Tensor]:
        highest = 2.0 ** tf.constant(self.highest_label, tf.float64)
        labels = tf.where(ranked.query >= 0, ranked.y_true, tf.zeros_like(ranked.y_true))
        stops = tf.where(ranked.retrieved, exponential(labels) / highest, 0)
        # Of each row and of those above it in its query, the probability that nobody stops.
        reached = ranked.with_ties(
            lambda tie: symmetric_means(ranked, tie, 1 - stops),
            lambda: running_products(ranked, 1 - stops),
        )
        before = tf.where(ranked.rank > 1, tf.roll(reached, 1, 0), tf.ones_like(reached))
        found = ranked.sum((before - reached) / ranked.rank * ranked.within(self.k))
        return found, ranked.sum(labels) > 0

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "highest_label": self.highest_label}
