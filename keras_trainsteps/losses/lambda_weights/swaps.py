"""A pair weighs what swapping its rows changes in a metric."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from keras_trainsteps.losses.lambda_weights.base import LambdaWeight
from keras_trainsteps.losses.lambda_weights.top_k import OfGains, ranks_from_1
from keras_trainsteps.pairs import PairFactor
from keras_trainsteps.queries import RankingRows
from keras_trainsteps.validation import as_count, is_number


@keras.saving.register_keras_serializable("keras_trainsteps.lambda_weights")
class DCG(OfGains):
    """A pair weighs what swapping its rows changes in DCG@k.

    ```
    weight = abs(G_i - G_j) * abs(D(r_i) - D(r_j)),  G = 2 ** y - 1,  D(r) = 1 / log2(1 + r)
    ```

    with ranks `r` by score, from 1. Queries with many relevant rows weigh more.

    Args:
        k: Ranks that count; `D` is 0 beyond. Default `None`: all.
        gains: `"exponential"` (default), `2**y - 1`; `"linear"`, `y`; a table with the gain of
            each label from 0 up (LightGBM's `label_gain`); or a function of the labels.
        discount: `"log2"` (default); `"reciprocal"`, `1 / r`; or a function of the ranks, a
            float64 tensor from 1 up.
        weigh_gains: Whether gains are multiplied by the weights of their rows, as in RAX.
            Default: not.

    Raises:
        ValueError: For a `k` that is no integer of at least 1, and what are no gains or
            discounts; in the loss: for labels that are negative, or not in the table, or above
            96 (float64 scores: 896), whose exponential gains no float32 holds.

    Example:

    >>> from keras_trainsteps.losses import pairwise_logistic
    >>> term = pairwise_logistic(
    ...     [2.0, 0.0], [0.0, 0.0], query_ids=[0, 0], lambda_weight=DCG(k=1)
    ... )
    >>> bool(np.isclose(term.total, 3 * np.log(2)))
    True

    Reference:
        Burges, Ragno and Le, Learning to Rank with Nonsmooth Cost Functions, NIPS 2006.
    """

    grows = True

    def factor(self, rows: RankingRows) -> PairFactor:
        discount = self.discounts(ranks_from_1(rows.y_pred, rows))
        return PairFactor(_swap, {"gain": self.row_gains(rows), "discount": discount})

    def row_weights(self, rows: RankingRows) -> tf.Tensor:
        """What each row adds to DCG@k: `G_i * D(r_i)`, float64; see `labels` of `softmax`."""
        return self.row_gains(rows) * self.discounts(ranks_from_1(rows.y_pred, rows))


@keras.saving.register_keras_serializable("keras_trainsteps.lambda_weights")
class NDCG(OfGains):
    """A pair weighs what swapping its rows changes in NDCG@k: LambdaRank.

    ```
    weight = abs(G_i - G_j) * abs(D(r_i) - D(r_j)) / best DCG@k of the query
    ```

    with `G`, `D` and `r` as in `DCG`.

    Args:
        k: Ranks that count; `D` is 0 beyond. Default `None`: all.
        gains: `"exponential"` (default), `2**y - 1`; `"linear"`, `y`; a table with the gain of
            each label from 0 up (LightGBM's `label_gain`); or a function of the labels.
        discount: `"log2"` (default); `"reciprocal"`, `1 / r`; or a function of the ranks, a
            float64 tensor from 1 up.
        weigh_gains: Whether gains are multiplied by the weights of their rows, as in RAX.
            Default: not.

    Raises:
        ValueError: For a `k` that is no integer of at least 1, and what are no gains or
            discounts; in the loss: for labels that are negative, or not in the table.

    Example:

    >>> from keras_trainsteps.losses import pairwise_logistic
    >>> term = pairwise_logistic(
    ...     [1.0, 0.0], [0.0, 1.0], query_ids=[0, 0], lambda_weight=NDCG(k=10)
    ... )
    >>> bool(np.isclose(term.total, (1 - 1 / np.log2(3)) * np.log1p(np.exp(1))))
    True
    >>> NDCG(k=10, gains=[0, 1, 3, 10])
    NDCG(k=10, gains=[0.0, 1.0, 3.0, 10.0])

    Reference:
        Burges, Ragno and Le, Learning to Rank with Nonsmooth Cost Functions, NIPS 2006.
    """

    def factor(self, rows: RankingRows) -> PairFactor:
        discount = self.discounts(ranks_from_1(rows.y_pred, rows))
        return PairFactor(_swap, {"gain": self.gains_over_best(rows), "discount": discount})

    def row_weights(self, rows: RankingRows) -> tf.Tensor:
        """What each row adds to NDCG@k, float64; see `labels` of `softmax`."""
        return self.gains_over_best(rows) * self.discounts(ranks_from_1(rows.y_pred, rows))


@keras.saving.register_keras_serializable("keras_trainsteps.lambda_weights")
class Precision(LambdaWeight):
    """A pair weighs what swapping its rows changes in precision@k.

    That is `1 / k` if one row is relevant, the other is not, and only one of them is in the
    first `k` ranks; else 0.

    Args:
        k: Ranks that count, at least 1.
        relevant_from: The lowest label that is relevant. Default `None`: every label above 0.

    Raises:
        ValueError: For a `k` that is no integer of at least 1, a `relevant_from` that is no
            number.

    Example:

    >>> from keras_trainsteps.losses import pairwise_logistic
    >>> term = pairwise_logistic(
    ...     [1.0, 0.0, 0.0], [0.0, 0.0, 0.0], query_ids=[0, 0, 0], lambda_weight=Precision(k=2)
    ... )
    >>> bool(np.isclose(term.total, np.log(2) / 2))  # only the third row is beyond rank 2
    True
    """

    def __init__(self, k: int, *, relevant_from: float | None = None) -> None:
        self.k = as_count("k", k)
        if relevant_from is not None and not is_number(relevant_from):
            raise ValueError(
                "`relevant_from` must be a number, the lowest label that is relevant, or None. "
                f"Received: {relevant_from!r}."
            )
        self.relevant_from = None if relevant_from is None else float(relevant_from)

    def factor(self, rows: RankingRows) -> PairFactor:
        within = tf.cast(ranks_from_1(rows.y_pred, rows) <= self.k, tf.float64) / self.k
        lowest = self.relevant_from
        relevant = rows.y_true > 0 if lowest is None else rows.y_true >= lowest
        return PairFactor(_swap, {"gain": tf.cast(relevant, tf.float64), "discount": within})

    def get_config(self) -> dict[str, Any]:
        return {"k": self.k, "relevant_from": self.relevant_from}


def _swap(i: dict[str, tf.Tensor], j: dict[str, tf.Tensor]) -> tf.Tensor:
    return tf.abs(i["gain"] - j["gain"]) * tf.abs(i["discount"] - j["discount"])
