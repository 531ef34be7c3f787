"""The harmonic mean of precision and recall at k, by query."""

from __future__ import annotations

import keras
import tensorflow as tf

from keras_trainsteps.metrics.ranked_metric import AtK
from keras_trainsteps.metrics.ranked_rows import RankedRows


@keras.saving.register_keras_serializable("keras_trainsteps")
class F1AtK(AtK):
    """The harmonic mean of precision and recall at `k`, averaged over queries.

    A row is relevant if its label is at least `relevant_from`, or above 0.

    ```
    F1@k = 2 * P@k * R@k / (P@k + R@k)
         = 2 * |{i: y_i relevant and rank_i <= k}| / (k + |{i: y_i relevant}|)
    ```

    A row whose score is minus infinity is relevant, but at no rank.

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
        name: Default `"f1@k"`.

    Returns:
        From `result()` a float64 scalar; 0 before any query, NaN after a NaN score.

    Raises:
        TypeError: For a `seed` that is no integer.
        ValueError: For `k` below 1 or an unknown option; from `update_state` for NaN
            labels (under XLA the result is NaN), and as `QueryMetric`; at the end of an epoch
            of a model, where no label reaches `relevant_from`.

    Example:

    >>> metric = F1AtK(query_ids="query_id", k=2)
    >>> metric.update_state([0, 1, 1, 1], [4.0, 3.0, 2.0, 1.0], query_ids=[5, 5, 5, 5])
    >>> float(metric.result())  # of P@2 = 1 / 2 and R@2 = 1 / 3
    0.4
    >>> from keras_trainsteps import LossAwareSequential
    >>> model = LossAwareSequential([keras.layers.Dense(1)])
    >>> model.compile("adam", "mse", metrics=[F1AtK(k=10)])

    Reference:
        van Rijsbergen, "Information Retrieval", 1979, chapter 7.
    """

    default_name = "f1"

    def ranked_values(self, ranked: RankedRows) -> tuple[tf.Tensor, tf.Tensor]:
        found = ranked.sum(ranked.relevant * ranked.expected(ranked.within(self.k)))
        relevant = ranked.sum(ranked.relevant)
        return 2 * found / (relevant + tf.cast(self.k, tf.float64)), relevant > 0
