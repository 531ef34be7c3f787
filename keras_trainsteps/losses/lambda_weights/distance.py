"""A pair weighs by how far its rows are apart: the second bounds of LambdaLoss."""

from __future__ import annotations

import functools

import keras
import tensorflow as tf

from keras_trainsteps.losses.lambda_weights.top_k import OfGains, ranks_from_1
from keras_trainsteps.pairs import PairFactor
from keras_trainsteps.queries import Discount, Gains, RankingRows, discounts_of


class _ByDistance(OfGains):
    """A weight of the difference of gains and the distance of ranks."""

    def __init__(
        self,
        k: int | None = None,
        *,
        gains: Gains = "exponential",
        discount: Discount = "log2",
        weigh_gains: bool = False,
    ) -> None:
        super().__init__(k, gains=gains, discount=discount, weigh_gains=weigh_gains)
        # The sums are traced once for a function: the same one each time, and for each name.
        own = functools.partial(_by_distance, self.discount)
        self._function = _FUNCTIONS.get(self.discount, own)

    def of(self, gain: tf.Tensor, rows: RankingRows) -> PairFactor:
        """The factor with these gains."""
        rank = ranks_from_1(rows.y_pred, rows)
        within = tf.ones_like(rank) if self.k is None else tf.cast(rank <= self.k, tf.float64)
        # A field and no closure: so the sums are the same for every `k`.
        return PairFactor(self._function, {"gain": gain, "rank": rank, "within": within})


@keras.saving.register_keras_serializable("keras_trainsteps.lambda_weights")
class DCG2(_ByDistance):
    """NDCG-Loss2 of LambdaLoss without the best DCG: pairs weigh by the distance of their ranks.

    ```
    weight = abs(G_i - G_j) * (D(n) - D(n + 1)),    n = abs(r_i - r_j)
    ```

    with `G`, `D` and `r` as in `DCG`; as `dcg2_lambdaweight(normalize=False)` of RAX. Queries
    with many relevant rows weigh more.

    Args:
        k: A pair with both rows beyond rank `k` weighs 0. Default `None`: none does.
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
    ...     [2.0, 0.0], [0.0, 0.0], query_ids=[0, 0], lambda_weight=DCG2()
    ... )
    >>> bool(np.isclose(term.total, 3 * (1 - 1 / np.log2(3)) * np.log(2)))
    True

    Reference:
        Wang et al., The LambdaLoss Framework for Ranking Metric Optimization, CIKM 2018.
    """

    grows = True

    def factor(self, rows: RankingRows) -> PairFactor:
        return self.of(self.row_gains(rows), rows)


@keras.saving.register_keras_serializable("keras_trainsteps.lambda_weights")
class NDCG2(_ByDistance):
    """NDCG-Loss2 of LambdaLoss: a bound of NDCG that looks at the distance of the ranks.

    ```
    weight = abs(G_i - G_j) * (D(n) - D(n + 1)) / best DCG@k,    n = abs(r_i - r_j)
    ```

    with `G`, `D` and `r` as in `DCG`; without the LambdaRank part of the paper.

    Args:
        k: Ranks that count in the best DCG; a pair with both rows beyond it weighs 0.
            Default `None`: all.
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
    ...     [1.0, 0.0], [0.0, 0.0], query_ids=[0, 0], lambda_weight=NDCG2()
    ... )
    >>> bool(np.isclose(term.total, (1 - 1 / np.log2(3)) * np.log(2)))
    True

    Reference:
        Wang et al., The LambdaLoss Framework for Ranking Metric Optimization, CIKM 2018.
    """

    def factor(self, rows: RankingRows) -> PairFactor:
        return self.of(self.gains_over_best(rows), rows)


def _by_distance(
    discount: Discount, i: dict[str, tf.Tensor], j: dict[str, tf.Tensor]
) -> tf.Tensor:
    distance = tf.maximum(tf.abs(i["rank"] - j["rank"]), 1)
    change = discounts_of(discount, distance) - discounts_of(discount, distance + 1)
    within = tf.maximum(i["within"], j["within"])
    return tf.abs(i["gain"] - j["gain"]) * change * within


_NAMED: tuple[Discount, ...] = ("log2", "reciprocal")
_FUNCTIONS = {name: functools.partial(_by_distance, name) for name in _NAMED}
