"""Ranking metrics by query id."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_trainsteps.arguments import require_choice
from keras_trainsteps.metrics.query_metric import NoRelevant, QueryMetric, has_rows, ranks
from keras_trainsteps.pairs import PairKernel, pair_sums
from keras_trainsteps.queries import RankingRows


def _misordered(d: tf.Tensor, label_d: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """1 for a pair whose better row has the lower score, 1/2 for equal scores."""
    wrong = (1 - tf.sign(d)) / 2
    return wrong, tf.zeros_like(d)


MISORDERED = PairKernel("MISORDERED", _misordered)


@keras.saving.register_keras_serializable("keras_trainsteps")
class NDCG(QueryMetric):
    """Normalized discounted cumulative gain, averaged over queries.

    For each query `NDCG@k = DCG@k / IDCG@k`, where
    `DCG@k = sum over the k best scored rows of (2**y - 1) / log2(1 + rank)` and `IDCG@k`
    is the same with the rows in the order of their labels. Rows of equal scores are
    ranked in the order they come in.

    Args:
        query_ids: The name of the side input with the query ids. Default `"query_id"`.
            `None` for padded lists.
        k: Ranks that count, at least 1. Default `None`: all.
        mask: The name of the side input with the mask. Default: none.
        no_relevant: What a query counts whose labels are all 0: `"zero"` (as in TF-Ranking
            and Keras-RS), `"one"` (as in XGBoost and LightGBM), or `"skip"` to leave it out.
        name: Default `"ndcg@k"`, or `"ndcg"`.

    Raises:
        ValueError: For `k` below 1, an unknown `no_relevant`.

    Example:

    >>> metric = NDCG(query_ids="query_id", k=1)
    >>> metric.update_state([0.0, 1.0, 1.0], [2.0, 1.0, 3.0], query_ids=[5, 5, 6])
    >>> float(metric.result())
    0.5

    Reference:
        Jaervelin and Kekaelaeinen, Cumulated gain-based evaluation of IR techniques,
        ACM TOIS 2002; gains as in Burges et al. 2005.
    """

    def __init__(
        self,
        query_ids: str | None = "query_id",
        *,
        k: int | None = None,
        mask: str | None = None,
        no_relevant: NoRelevant = "zero",
        name: str | None = None,
    ) -> None:
        super().__init__(query_ids, mask=mask, name=name or _name("ndcg", k))
        require_k(k)
        require_choice("no_relevant", no_relevant, NoRelevant)
        self.k, self.no_relevant = k, no_relevant

    def query_values(self, rows: RankingRows) -> tuple[tf.Tensor, tf.Tensor]:
        found, best = self._dcg(rows.y_pred, rows), self._dcg(rows.y_true, rows)
        values = tf.math.divide_no_nan(found, best)
        relevant = best > 0
        if self.no_relevant == "one":
            values = tf.where(relevant, values, 1)
        if self.no_relevant == "skip":
            return values, relevant
        return values, has_rows(rows)

    def _dcg(self, key: tf.Tensor, rows: RankingRows) -> tf.Tensor:
        rank = tf.cast(ranks(key, rows), tf.float64) + 1
        gain = tf.pow(tf.constant(2, tf.float64), tf.cast(rows.y_true, tf.float64)) - 1
        discount = np.log(2.0) / tf.math.log(1 + rank)
        if self.k is not None:
            discount = tf.where(rank <= self.k, discount, 0)
        return tf.math.unsorted_segment_sum(gain * discount, rows.query, rows.num_queries)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "k": self.k, "no_relevant": self.no_relevant}


@keras.saving.register_keras_serializable("keras_trainsteps")
class PairAccuracy(QueryMetric):
    """Share of preference pairs that the scores order correctly, averaged over queries.

    For each query `sum over pairs with y_i > y_j of [s_i > s_j] + [s_i == s_j] / 2`,
    divided by the number of these pairs. With binary labels it is the AUC of the query.
    Queries without such a pair do not count.

    Args:
        query_ids: The name of the side input with the query ids. Default `"query_id"`.
            `None` for padded lists.
        mask: The name of the side input with the mask. Default: none.
        name: Default `"pair_accuracy"`.

    Example:

    >>> metric = PairAccuracy(query_ids="query_id")
    >>> metric.update_state([0, 1, 2], [1.0, 1.0, 3.0], query_ids=[5, 5, 5])
    >>> round(float(metric.result()), 4)
    0.8333
    """

    def __init__(
        self,
        query_ids: str | None = "query_id",
        *,
        mask: str | None = None,
        name: str = "pair_accuracy",
    ) -> None:
        super().__init__(query_ids, mask=mask, name=name)

    def query_values(self, rows: RankingRows) -> tuple[tf.Tensor, tf.Tensor]:
        wrong, pairs = pair_sums(
            MISORDERED,
            tf.cast(rows.y_true, tf.float64),
            tf.cast(rows.y_pred, tf.float64),
            rows.query,
            rows.num_queries,
            pairs="preference",
        )
        return 1 - tf.math.divide_no_nan(wrong, pairs), pairs > 0


def require_k(k: int | None) -> None:
    """Refuses a number of ranks below 1."""
    if k is not None and (not isinstance(k, int) or k < 1):
        raise ValueError(f"`k` must be an integer of at least 1, or `None`. Received: {k!r}.")


def _name(name: str, k: int | None) -> str:
    return name if k is None else f"{name}@{k}"
