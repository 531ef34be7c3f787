"""The average position of what is relevant, by query."""

from __future__ import annotations

from typing import Any, Literal

import keras
import tensorflow as tf

from keras_trainsteps.metrics.ranked_metric import RankedMetric
from keras_trainsteps.metrics.ranked_rows import RankedRows, Ties
from keras_trainsteps.metrics.split_queries import SplitQueries
from keras_trainsteps.validation import require_choice

ARPNormalize = Literal["queries", "relevance"]


@keras.saving.register_keras_serializable("keras_trainsteps")
class ARP(RankedMetric):
    """Average relevance position: the mean rank, weighted by label, over queries.

    Lower is better; 1 is the best. A query without a label above 0 has no relevant
    position and does not count.

    ```
    ARP = sum_i w_i * y_i * rank_i / sum_i w_i * y_i
    ```

    Args:
        query_ids: The name of the side input with the query ids, integers or strings, one
            per row. Default `"query_id"`. `None` for padded lists, `(queries, list_size)`.
        mask: The name of the side input with the mask, bool, one per row: rows where it is
            `False` are ignored. Default: none, and padded lists must have no negative label,
            as a -1 for padding.
        row_weight: The name of the side input with weights of rows, not negative, `w`: those of
            their labels. Default: 1 each.
        normalize: `"queries"` (default): each query counts the same. `"relevance"`: each counts
            `sum w * y`, so that the result is the mean rank over the relevance of all queries, as
            in TF-Ranking.
        ties: The rule for equal scores. `"average"` (default) is the mean over all orders, in
            closed form: a model that scores all rows alike gains nothing from how they lie.
            `"stable"` keeps the order of the rows, `"random"` draws one.
        seed: An integer, for random ties. Default 0. Orders differ from batch to batch
            and repeat when the metric is reset.
        split_queries: A query whose rows are in two batches: `"error"` (default) refuses it,
            `"count_parts"` counts each part as a query (see `QueryMetric`).
        name: Default `"arp"`.

    Returns:
        From `result()` a float64 scalar; 0 before any query, NaN after a NaN score.

    Raises:
        TypeError: For a `seed` that is no integer.
        ValueError: For an unknown `ties` or `normalize`; from `update_state` for labels that are
            negative or NaN (under XLA the result is NaN), and as `QueryMetric`.

    Example:

    >>> metric = ARP(query_ids="query_id")
    >>> metric.update_state([0, 1, 1], [3.0, 2.0, 1.0], query_ids=[5, 5, 5])
    >>> float(metric.result())
    2.5
    >>> from keras_trainsteps import LossAwareSequential
    >>> model = LossAwareSequential([keras.layers.Dense(1)])
    >>> model.compile("adam", "mse", metrics=[ARP(mask="kept")])

    Reference:
        Joachims, Swaminathan and Schnabel, "Unbiased learning-to-rank with biased
        feedback", 2017: ranks of the relevant rows; the mean weighted by label is TF-Ranking's.
    """

    default_name = "arp"
    better = "down"
    weighs_rows = True
    label_rule = (
        "`y_true` must not be negative or NaN, nor infinite: labels weigh positions here",
        "Mark padding with the mask, not with a label of -1.",
    )

    def __init__(
        self,
        query_ids: str | None = "query_id",
        *,
        mask: str | None = None,
        row_weight: str | None = None,
        normalize: ARPNormalize = "queries",
        ties: Ties = "average",
        seed: int = 0,
        split_queries: SplitQueries = "error",
        name: str | None = None,
    ) -> None:
        super().__init__(
            query_ids,
            mask=mask,
            ties=ties,
            seed=seed,
            no_relevant="skip",
            split_queries=split_queries,
            name=name,
        )
        require_choice("normalize", normalize, ARPNormalize)
        self.normalize, self.row_weight = normalize, row_weight

    def valid_labels(self, y_true: tf.Tensor) -> tf.Tensor:
        return (y_true >= 0) & (y_true < float("inf"))

    def ranked_values(self, ranked: RankedRows) -> tuple[tf.Tensor, tf.Tensor]:
        worth = ranked.weighed(ranked.y_true)
        labels = ranked.sum(worth)
        positions = ranked.sum(worth * ranked.expected(ranked.rank))
        counts = labels if self.normalize == "relevance" else labels > 0
        return tf.math.divide_no_nan(positions, labels), counts

    def get_config(self) -> dict[str, Any]:
        fixed = ("k", "no_relevant", "weigh")
        options = {"row_weight": self.row_weight, "normalize": self.normalize}
        config = super().get_config() | options
        return {key: value for key, value in config.items() if key not in fixed}
