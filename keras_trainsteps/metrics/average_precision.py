"""Average precision by query."""

from __future__ import annotations

from typing import Any, Literal

import keras
import tensorflow as tf

from keras_trainsteps.metrics.query_metric import NoRelevant
from keras_trainsteps.metrics.ranked_metric import RelevanceMetric
from keras_trainsteps.metrics.ranked_rows import RankedRows, Ties
from keras_trainsteps.metrics.relevant_weights import Weigh
from keras_trainsteps.metrics.split_queries import SplitQueries
from keras_trainsteps.metrics.tie_runs import tie_runs
from keras_trainsteps.validation import require_choice

MAPNormalize = Literal["relevant", "reachable"]


@keras.saving.register_keras_serializable("keras_trainsteps")
class MAP(RelevanceMetric):
    """Mean average precision: precision at the rank of each relevant row, over queries.

    A row is relevant if its label is at least `relevant_from`, or above 0.

    ```
    AP@k = sum over relevant rows i with rank_i <= k of P@rank_i / R
    ```

    `P@r` is the share of relevant rows among the first `r`, `R` their number in the query.

    A row whose score is minus infinity was not retrieved: as for trec_eval it is at no rank,
    and counts in `R` alone.

    Args:
        query_ids: The name of the side input with the query ids, integers or strings, one
            per row. Default `"query_id"`. `None` for padded lists, `(queries, list_size)`.
        k: Ranks that count, at least 1. Default `None`: all.
        mask: The name of the side input with the mask, bool, one per row: rows where it is
            `False` are ignored. Default: none, and padded lists must have no negative label,
            as a -1 for padding.
        row_weight: The name of the side input with weights of rows within their query, which
            weigh the relevant rows of the sum, and of `R`. Default: none.
        relevant_from: The lowest label that is relevant. Default `None`: every label above 0;
            labels other than 0 and 1 are then named in a warning.
        normalize: What the sum is divided by: `"relevant"` (default, as in Keras-RS), all
            relevant rows, or `"reachable"` (as in LightGBM), at most `k`, so that a best
            possible ranking has the value 1.
        ties: The rule for equal scores. `"average"` (default) is the mean over all orders, in
            closed form: a model that scores all rows alike gains nothing from how they lie.
            `"stable"` keeps the order of the rows, `"random"` draws one.
        seed: An integer, for random ties. Default 0. Orders differ from batch to batch
            and repeat when the metric is reset.
        no_relevant: What a query without a relevant row counts: `"zero"` (default),
            `"one"` (as in LightGBM), or `"skip"` to leave it out.
        weigh: What a query weighs as one of `weighted_metrics`: `"mean"` (default), the mean of
            its rows' `sample_weight`, or `"relevant"`, that of its relevant rows, as TF-Ranking
            and Keras-RS have it: `sum w * g / sum g`, with `g` 1 for a relevant row, else 0.
            A query without one weighs the average of the others.
        split_queries: A query whose rows are in two batches: `"error"` (default) refuses it,
            `"count_parts"` counts each part as a query (see `QueryMetric`).
        name: Default `"map"`, or `"map@k"`.

    Returns:
        From `result()` a float64 scalar; 0 before any query, NaN after a NaN score.

    Raises:
        TypeError: For a `seed` that is no integer.
        ValueError: For `k` below 1 or an unknown option; from `update_state` for NaN
            labels (under XLA the result is NaN), and as `QueryMetric`; at the end of an epoch
            of a model, where no label reaches `relevant_from`.

    Example:

    >>> metric = MAP(query_ids="query_id")
    >>> metric.update_state([1, 0, 0, 1], [4.0, 3.0, 2.0, 1.0], query_ids=[5, 5, 5, 5])
    >>> float(metric.result())  # (1 / 1 + 2 / 4) / 2
    0.75
    >>> from keras_trainsteps import LossAwareSequential
    >>> model = LossAwareSequential([keras.layers.Dense(1)])
    >>> model.compile("adam", "mse", metrics=[MAP(normalize="reachable", k=10)])

    Reference:
        Manning, Raghavan and Schuetze, "Introduction to Information Retrieval", 2008,
        section 8.4; ties: McSherry and Najork, "Computing information retrieval
        performance measures efficiently in the presence of tied scores", 2008.
    """

    default_name = "map"
    weighs_rows = True

    def __init__(
        self,
        query_ids: str | None = "query_id",
        *,
        k: int | None = None,
        mask: str | None = None,
        row_weight: str | None = None,
        relevant_from: float | None = None,
        normalize: MAPNormalize = "relevant",
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
        require_choice("normalize", normalize, MAPNormalize)
        if row_weight is not None and normalize == "reachable":
            raise ValueError(
                "`row_weight` must be None with `normalize='reachable'`, a number of rows. "
                f"Received: {row_weight!r}. Use `normalize='relevant'`."
            )
        self.normalize, self.row_weight = normalize, row_weight

    def ranked_values(self, ranked: RankedRows) -> tuple[tf.Tensor, tf.Tensor]:
        runs = tie_runs(ranked)
        # Of the rows before it in its run, those expected to be relevant if this one is.
        earlier = tf.math.divide_no_nan(runs.offset * (runs.relevant - 1), runs.size - 1)
        precision = (runs.above + earlier + 1) / ranked.rank
        share, relevant = runs.relevant / runs.size, ranked.sum(ranked.relevant)
        if ranked.row_weight is not None:
            share = ranked.expected(ranked.weighed(ranked.relevant))
            relevant = ranked.sum(ranked.weighed(ranked.relevant))
        found = share * precision * ranked.within(self.k)
        best = relevant
        if self.normalize == "reachable" and self.k is not None:
            best = tf.minimum(relevant, tf.cast(self.k, relevant.dtype))
        return tf.math.divide_no_nan(ranked.sum(found), best), relevant > 0

    def get_config(self) -> dict[str, Any]:
        config = {"normalize": self.normalize, "row_weight": self.row_weight}
        return {**super().get_config(), **config}
