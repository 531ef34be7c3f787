"""An ordered pair weighs what its first row is worth: the first bounds of LambdaLoss."""

from __future__ import annotations

import keras
import tensorflow as tf

from keras_trainsteps.losses.lambda_weights.base import LambdaWeight
from keras_trainsteps.losses.lambda_weights.top_k import OfGains, ranks_from_1
from keras_trainsteps.pairs import PairFactor
from keras_trainsteps.queries import RankingRows


@keras.saving.register_keras_serializable("keras_trainsteps.lambda_weights")
class DCG1(OfGains):
    """NDCG-Loss1 of LambdaLoss without the best DCG, over all ordered pairs.

    ```
    weight = G_i * D(r_i)
    ```

    with `G`, `D` and `r` as in `DCG`, of the first row of the pair. The paper sums it over all
    ordered pairs: `pairwise_logistic(pairs="ordered")`. Its pairs of a row with itself, which add
    a constant, are left out.

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
    ...     [2.0, 0.0], [0.0, 0.0], query_ids=[0, 0], pairs="ordered", lambda_weight=DCG1()
    ... )
    >>> bool(np.isclose(term.total, 3 * np.log(2)))
    True

    Reference:
        Wang et al., The LambdaLoss Framework for Ranking Metric Optimization, CIKM 2018.
    """

    grows = True
    symmetric = False

    def factor(self, rows: RankingRows) -> PairFactor:
        discount = self.discounts(ranks_from_1(rows.y_pred, rows))
        return PairFactor(_first, {"worth": self.row_gains(rows) * discount})


@keras.saving.register_keras_serializable("keras_trainsteps.lambda_weights")
class NDCG1(OfGains):
    """NDCG-Loss1 of LambdaLoss: a coarse bound of NDCG, over all ordered pairs.

    ```
    weight = G_i * D(r_i) / best DCG@k of the query
    ```

    with `G`, `D` and `r` as in `DCG`, of the first row of the pair. The paper sums it over all
    ordered pairs: `pairwise_logistic(pairs="ordered")`. Its pairs of a row with itself, which add
    a constant, are left out.

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
    ...     [1.0, 0.0], [0.0, 0.0], query_ids=[0, 0], pairs="ordered", lambda_weight=NDCG1()
    ... )
    >>> bool(np.isclose(term.total, np.log(2)))
    True

    Reference:
        Wang et al., The LambdaLoss Framework for Ranking Metric Optimization, CIKM 2018.
    """

    symmetric = False

    def factor(self, rows: RankingRows) -> PairFactor:
        discount = self.discounts(ranks_from_1(rows.y_pred, rows))
        return PairFactor(_first, {"worth": self.gains_over_best(rows) * discount})


@keras.saving.register_keras_serializable("keras_trainsteps.lambda_weights")
class ARP1(LambdaWeight):
    """ARP-Loss1 of LambdaLoss: a bound of the average relevance position.

    ```
    weight = y_i
    ```

    of the first row of the pair. The paper sums it over all ordered pairs:
    `pairwise_logistic(pairs="ordered")`. ARP-Loss2 is `LabelDifference`.

    Raises:
        ValueError: In the loss: for labels that are negative.

    Example:

    >>> from keras_trainsteps.losses import pairwise_logistic
    >>> term = pairwise_logistic(
    ...     [2.0, 1.0], [0.0, 0.0], query_ids=[0, 0], pairs="ordered", lambda_weight=ARP1()
    ... )
    >>> bool(np.isclose(term.total, 3 * np.log(2)))
    True

    Reference:
        Wang et al., The LambdaLoss Framework for Ranking Metric Optimization, CIKM 2018.
    """

    gains = True
    symmetric = False

    def factor(self, rows: RankingRows) -> PairFactor:
        return PairFactor(_first, {"worth": rows.y_true})


def _first(i: dict[str, tf.Tensor], j: dict[str, tf.Tensor]) -> tf.Tensor:
    return i["worth"] + tf.zeros_like(j["worth"])
