"""Precision at the number of relevant rows, by query."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from keras_trainsteps.metrics.query_metric import NoRelevant
from keras_trainsteps.metrics.ranked_metric import RelevanceMetric
from keras_trainsteps.metrics.ranked_rows import RankedRows, Ties
from keras_trainsteps.metrics.relevant_weights import Weigh
from keras_trainsteps.metrics.split_queries import SplitQueries


@keras.saving.register_keras_serializable("keras_trainsteps")
class RPrecision(RelevanceMetric):
    """R-precision: precision at as many ranks as a query has relevant rows, over queries.

    It needs no `k`, and is 1 for a perfect ranking of any query. A row is relevant if its label
    is at least `relevant_from`, or above 0.

    ```
    R-precision = |{i: y_i relevant and rank_i <= R}| / R,    R = |{i: y_i relevant}|
    ```

    A row whose score is minus infinity is relevant, but at no rank.

    Args:
        query_ids: The name of the side input with the query ids, integers or strings, one
            per row. Default `"query_id"`. `None` for padded lists, `(queries, list_size)`.
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
        name: Default `"r_precision"`.

    Returns:
        From `result()` a float64 scalar; 0 before any query, NaN after a NaN score.

    Raises:
        TypeError: For a `seed` that is no integer.
        ValueError: For an unknown option; from `update_state` for NaN
            labels (under XLA the result is NaN), and as `QueryMetric`; at the end of an epoch
            of a model, where no label reaches `relevant_from`.

    Example:

    >>> metric = RPrecision(query_ids="query_id")
    >>> metric.update_state([0, 1, 1], [3.0, 2.0, 1.0], query_ids=[5, 5, 5])
    >>> float(metric.result())  # one of the first two
    0.5
    >>> from keras_trainsteps import LossAwareSequential
    >>> model = LossAwareSequential([keras.layers.Dense(1)])
    >>> model.compile("adam", "mse", metrics=[RPrecision(relevant_from=1)])

    Reference:
        Manning, Raghavan and Schuetze, "Introduction to Information Retrieval", 2008,
        section 8.4; `Rprec` of trec_eval.
    """

    default_name = "r_precision"

    def __init__(
        self,
        query_ids: str | None = "query_id",
        *,
        mask: str | None = None,
        relevant_from: float | None = None,
        ties: Ties = "average",
        seed: int = 0,
        no_relevant: NoRelevant = "zero",
        weigh: Weigh = "mean",
        split_queries: SplitQueries = "error",
        name: str | None = None,
    ) -> None:
        super().__init__(
            query_ids,
            mask=mask,
            relevant_from=relevant_from,
            ties=ties,
            seed=seed,
            no_relevant=no_relevant,
            weigh=weigh,
            split_queries=split_queries,
            name=name,
        )

    def ranked_values(self, ranked: RankedRows) -> tuple[tf.Tensor, tf.Tensor]:
        relevant = ranked.sum(ranked.relevant)
        inside = tf.cast(ranked.rank <= ranked.at_rows(relevant), tf.float64)
        found = ranked.sum(ranked.relevant * ranked.expected(ranked.of_retrieved(inside)))
        return tf.math.divide_no_nan(found, relevant), relevant > 0

    def get_config(self) -> dict[str, Any]:
        return {key: value for key, value in super().get_config().items() if key != "k"}
