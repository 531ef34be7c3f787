"""Precision of a reader who goes on with a probability, by query."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from keras_trainsteps.metrics.query_metric import NoRelevant
from keras_trainsteps.metrics.ranked_metric import RelevanceMetric
from keras_trainsteps.metrics.ranked_rows import RankedRows, Ties
from keras_trainsteps.metrics.relevant_weights import Weigh
from keras_trainsteps.metrics.split_queries import SplitQueries
from keras_trainsteps.validation import is_number


@keras.saving.register_keras_serializable("keras_trainsteps")
class RBP(RelevanceMetric):
    """Rank-biased precision: what a reader gains who goes on to the next row or stops.

    A row is relevant if its label is at least `relevant_from`, or above 0. For grades,
    `DCG(gains=[0, 0.5, 1], discount=...)` takes a table of what each is worth.

    ```
    RBP@k = (1 - p) * sum over relevant rows i with rank_i <= k of p ** (rank_i - 1)
    ```

    It is not normalized: the best of a query is below 1. A row whose score is minus infinity is
    at no rank.

    Args:
        query_ids: The name of the side input with the query ids, integers or strings, one
            per row. Default `"query_id"`. `None` for padded lists, `(queries, list_size)`.
        k: Ranks that count, at least 1. Default `None`: all.
        persistence: The probability `p` of going on to the next row, between 0 and 1. Default
            0.8; impatient readers have 0.5, patient ones 0.95.
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
        name: Default `"rbp"`, or `"rbp@k"`.

    Returns:
        From `result()` a float64 scalar; 0 before any query, NaN after a NaN score.

    Raises:
        TypeError: For a `seed` that is no integer.
        ValueError: For a `persistence` that is not between 0 and 1, `k` below 1 or
            an unknown option; from `update_state` for NaN
            labels (under XLA the result is NaN), and as `QueryMetric`; at the end of an epoch
            of a model, where no label reaches `relevant_from`.

    Example:

    >>> metric = RBP(query_ids="query_id", persistence=0.5)
    >>> metric.update_state([0, 1, 1], [3.0, 2.0, 1.0], query_ids=[5, 5, 5])
    >>> float(metric.result())  # (1 / 2 + 1 / 4) / 2
    0.375
    >>> from keras_trainsteps import LossAwareSequential
    >>> model = LossAwareSequential([keras.layers.Dense(1)])
    >>> model.compile("adam", "mse", metrics=[RBP(persistence=0.95)])

    Reference:
        Moffat and Zobel, "Rank-biased precision for measurement of retrieval effectiveness",
        2008.
    """

    default_name = "rbp"

    def __init__(
        self,
        query_ids: str | None = "query_id",
        *,
        k: int | None = None,
        persistence: float = 0.8,
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
        if not (is_number(persistence) and 0 < persistence < 1):
            raise ValueError(
                "`persistence` must be a probability between 0 and 1, both excluded. Received: "
                f"{persistence!r}."
            )
        self.persistence = float(persistence)

    def ranked_values(self, ranked: RankedRows) -> tuple[tf.Tensor, tf.Tensor]:
        going_on = tf.constant(self.persistence, tf.float64)
        looked_at = (1 - going_on) * going_on ** (ranked.rank - 1) * ranked.within(self.k)
        found = ranked.sum(ranked.relevant * ranked.expected(looked_at))
        return found, ranked.sum(ranked.relevant) > 0

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "persistence": self.persistence}
