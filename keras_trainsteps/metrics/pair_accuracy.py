"""Pairs in the right order, by query: graded, and as the area under the ROC curve."""

from __future__ import annotations

from typing import Any, ClassVar

import keras
import tensorflow as tf

from keras_trainsteps import compat
from keras_trainsteps.metrics.pair_counts import pair_counts
from keras_trainsteps.metrics.query_metric import QueryMetric
from keras_trainsteps.metrics.ranked_rows import rank_rows
from keras_trainsteps.metrics.relevance import Relevance
from keras_trainsteps.metrics.split_queries import SplitQueries
from keras_trainsteps.pairs import PairKernel, pair_sums
from keras_trainsteps.pairs.reduce import count_by_group, sum_by_group
from keras_trainsteps.queries import RankingRows

_FEW_PAIRS = 2**17  # which are visited faster than counted


def _misordered(d: tf.Tensor, label_d: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """1 for a pair whose better row has the lower score, 1/2 for equal scores."""
    wrong = (1 - tf.sign(d)) / 2
    return wrong, tf.zeros_like(d)


MISORDERED = PairKernel("MISORDERED", _misordered)


def _visited(
    query: tf.Tensor, scores: tf.Tensor, labels: tf.Tensor, num_queries: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """How many pairs of each query are in the wrong order, and how many there are."""
    return pair_sums(
        MISORDERED, labels, tf.cast(scores, tf.float64), query, num_queries, method="exact"
    )


def _counted(
    query: tf.Tensor, scores: tf.Tensor, labels: tf.Tensor, num_queries: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """What `_visited` gives, without visiting a pair."""
    counts = pair_counts(query, scores, labels, num_queries)
    # What is tied in the scores alone is half wrong.
    tied = tf.cast(counts.tied_a - counts.tied_both, tf.float64)
    wrong = tf.cast(counts.discordant, tf.float64) + tied / 2
    return wrong, tf.cast(counts.pairs - counts.tied_b, tf.float64)


@keras.saving.register_keras_serializable("keras_trainsteps")
class PairAccuracy(QueryMetric):
    """Share of preference pairs that the scores order correctly, averaged over queries.

    With binary labels it is `QueryAUC`. Queries without such a pair do not count.

    ```
    accuracy = sum over pairs with y_i > y_j of [s_i > s_j] + [s_i == s_j] / 2
               divided by the number of these pairs
    ```

    It counts them exactly, in `rows * log(rows)` time and with memory linear in the rows.

    Args:
        query_ids: The name of the side input with the query ids, integers or strings, one
            per row. Default `"query_id"`. `None` for padded lists, `(queries, list_size)`.
        mask: The name of the side input with the mask, bool, one per row: rows where it is
            `False` are ignored. Default: none, and padded lists must have no negative label,
            as a -1 for padding.
        split_queries: A query whose rows are in two batches: `"error"` (default) refuses it,
            `"count_parts"` counts each part as a query (see `QueryMetric`).
        name: Default `"pair_accuracy"`.

    Returns:
        From `result()` a float64 scalar; 0 before any pair, NaN after a query with a pair
        and a score that is NaN or infinite.

    Raises:
        ValueError: From `update_state` for NaN labels (under XLA the result is NaN), and
            as `QueryMetric`.

    Example:

    >>> metric = PairAccuracy(query_ids="query_id")
    >>> metric.update_state([0, 1, 2], [1.0, 1.0, 3.0], query_ids=[5, 5, 5])
    >>> round(float(metric.result()), 4)
    0.8333
    >>> from keras_trainsteps import LossAwareSequential
    >>> model = LossAwareSequential([keras.layers.Dense(1)])
    >>> model.compile("adam", "mse", metrics=[PairAccuracy(mask="kept")])

    Reference:
        Herbrich, Graepel and Obermayer, "Large margin rank boundaries for ordinal
        regression", 2000.
    """

    default_name = "pair_accuracy"
    by_pairs: ClassVar[bool] = False

    def query_values(self, rows: RankingRows) -> tuple[tf.Tensor, tf.Tensor]:
        zero, nan = (tf.constant(value, tf.float64) for value in (0.0, float("nan")))
        known = tf.math.is_finite(rows.y_pred)
        scores = tf.where(known, rows.y_pred, tf.zeros_like(rows.y_pred))
        labels = tf.where(tf.math.is_nan(rows.y_true), zero, rows.y_true)  # under XLA
        given = rows.query, scores, labels, rows.num_queries
        if compat.in_xla():
            wrong, pairs = _counted(*given)
        else:
            sizes = tf.cast(count_by_group(rows.query, rows.num_queries), tf.float64)
            wrong, pairs = tf.cond(
                tf.reduce_sum(sizes * sizes) <= _FEW_PAIRS,
                lambda: _visited(*given),
                lambda: _counted(*given),
            )
        wrong += sum_by_group(tf.where(known, zero, nan), rows.query, rows.num_queries)
        counts = pairs if self.by_pairs else pairs > 0
        return 1 - tf.math.divide_no_nan(wrong, pairs), counts


@keras.saving.register_keras_serializable("keras_trainsteps")
class OPA(PairAccuracy):
    """Ordered pair accuracy: the share of all preference pairs that the scores order correctly.

    `PairAccuracy` counts every query the same; here every pair counts the same, so that a query
    weighs its number of pairs. As one of `weighted_metrics` it weighs that times the mean of its
    rows' `sample_weight`.

    ```
    OPA = sum over pairs of all queries with y_i > y_j of [s_i > s_j] + [s_i == s_j] / 2
          divided by the number of these pairs
    ```

    TF-Ranking counts a pair of equal scores as 0 and not as 1/2.

    Args:
        query_ids: The name of the side input with the query ids, integers or strings, one
            per row. Default `"query_id"`. `None` for padded lists, `(queries, list_size)`.
        mask: The name of the side input with the mask, bool, one per row: rows where it is
            `False` are ignored. Default: none, and padded lists must have no negative label,
            as a -1 for padding.
        split_queries: A query whose rows are in two batches: `"error"` (default) refuses it,
            `"count_parts"` counts each part as a query (see `QueryMetric`).
        name: Default `"opa"`.

    Returns:
        From `result()` a float64 scalar; 0 before any pair, NaN after a query with a pair
        and a score that is NaN or infinite.

    Raises:
        ValueError: From `update_state` for NaN labels (under XLA the result is NaN), and
            as `QueryMetric`.

    Example:

    >>> metric = OPA(query_ids="query_id")
    >>> metric.update_state([0, 1, 2, 0, 1], [1.0, 2.0, 3.0, 2.0, 1.0], query_ids=[5, 5, 5, 6, 6])
    >>> float(metric.result())  # three of four pairs
    0.75
    >>> from keras_trainsteps import LossAwareSequential
    >>> model = LossAwareSequential([keras.layers.Dense(1)])
    >>> model.compile("adam", "mse", metrics=[OPA(mask="kept")])

    Reference:
        `OPAMetric` of TF-Ranking: Pasumarthi et al., "TF-Ranking: Scalable TensorFlow library
        for learning-to-rank", 2019.
    """

    default_name = "opa"
    by_pairs = True


@keras.saving.register_keras_serializable("keras_trainsteps")
class QueryAUC(QueryMetric):
    """The area under the ROC curve of each query, averaged over queries.

    The probability that a relevant row (label of at least `relevant_from`, or above 0) of a
    query scores above another row of it. Queries where all rows are relevant, or none, do not
    count. `keras.metrics.AUC` compares rows of different queries as well.

    ```
    AUC = sum over pairs with y_i > 0 >= y_j of [s_i > s_j] + [s_i == s_j] / 2
          divided by the number of these pairs
    ```

    It is computed from ranks, in `rows * log(rows)` time.

    Args:
        query_ids: The name of the side input with the query ids, integers or strings, one
            per row. Default `"query_id"`. `None` for padded lists, `(queries, list_size)`.
        mask: The name of the side input with the mask, bool, one per row: rows where it is
            `False` are ignored. Default: none, and padded lists must have no negative label,
            as a -1 for padding.
        relevant_from: The lowest label that is relevant. Default `None`: every label above 0;
            labels other than 0 and 1 are then named in a warning.
        split_queries: A query whose rows are in two batches: `"error"` (default) refuses it,
            `"count_parts"` counts each part as a query (see `QueryMetric`).
        name: Default `"query_auc"`.

    Returns:
        From `result()` a float64 scalar; 0 before any pair, NaN after a NaN score in a
        query with a pair.

    Raises:
        ValueError: From `update_state` for NaN labels (under XLA the result is NaN), and
            as `QueryMetric`; at the end of an epoch of a model, where no label reaches
            `relevant_from`.

    Example:

    >>> metric = QueryAUC(query_ids="query_id")
    >>> metric.update_state([0, 0, 1], [1.0, 2.0, 2.0], query_ids=[5, 5, 5])
    >>> float(metric.result())
    0.75
    >>> from keras_trainsteps import LossAwareSequential
    >>> model = LossAwareSequential([keras.layers.Dense(1)])
    >>> model.compile("adam", "mse", metrics=[QueryAUC(query_ids="user")])

    Reference:
        Hanley and McNeil, "The meaning and use of the area under a receiver operating
        characteristic (ROC) curve", 1982.
    """

    default_name = "query_auc"

    def __init__(
        self,
        query_ids: str | None = "query_id",
        *,
        mask: str | None = None,
        relevant_from: float | None = None,
        split_queries: SplitQueries = "error",
        name: str | None = None,
    ) -> None:
        super().__init__(query_ids, mask=mask, split_queries=split_queries, name=name)
        self.relevance = Relevance(type(self).__name__, relevant_from, self.add_variable)
        self.relevant_from = self.relevance.relevant_from

    def query_values(self, rows: RankingRows) -> tuple[tf.Tensor, tf.Tensor]:
        ranked = rank_rows(rows, "average")._replace(relevant_from=self.relevant_from)
        relevant = ranked.sum(ranked.relevant)
        pairs = relevant * (ranked.sum(tf.ones_like(ranked.rank)) - relevant)
        # The ranks of the relevant rows, less what they are if all of these come first.
        ranks = ranked.sum(ranked.relevant * ranked.expected(ranked.rank))
        wrong = ranks - relevant * (relevant + 1) / 2
        return 1 - tf.math.divide_no_nan(wrong, pairs), pairs > 0

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "relevant_from": self.relevant_from}
