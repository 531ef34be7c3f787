"""Only pairs whose rows are ranked next to each other weigh anything: YetiLoss."""

from __future__ import annotations

import keras
import tensorflow as tf

from keras_trainsteps.losses.lambda_weights.top_k import OfGains, ranks_from_1
from keras_trainsteps.pairs import PairFactor
from keras_trainsteps.queries import RankingRows, discounts_of
from keras_trainsteps.validation import refuse


@keras.saving.register_keras_serializable("keras_trainsteps.lambda_weights")
class YetiDCG(OfGains):
    """A pair of rows with neighbouring ranks weighs the difference of their gains; others 0.

    ```
    weight = abs(G_i - G_j) * (D(1) - D(2)) * b    if abs(r_i - r_j) = 1, else 0
    b = 1,    but 1 / (1 - D(max(r_i, r_j))) where max(r_i, r_j) > k
    ```

    with `G`, `D` and `r` as in `DCG`. It is made for scores with Gumbel noise, which bring every
    two rows next to each other sooner or later: `losses.with_gumbel` around
    `pairwise_logistic` is YetiLoss. With `gains="linear", discount="reciprocal"` it is
    TF-Ranking's `YetiDCGLambdaWeight`, which also multiplies by the length of the padded lists.

    Args:
        k: Ranks that count; pairs with a row beyond weigh more, by `b`, as in TF-Ranking.
            Default `None`: all.
        gains: `"exponential"` (default), `2**y - 1`; `"linear"`, `y`; a table with the gain of
            each label from 0 up (LightGBM's `label_gain`); or a function of the labels.
        discount: `"log2"` (default); `"reciprocal"`, `1 / r`; or a function of the ranks, a
            float64 tensor from 1 up, below 1 beyond rank `k`.
        weigh_gains: Whether gains are multiplied by the weights of their rows. Default: not.

    Raises:
        ValueError: For a `k` that is no integer of at least 1, and what are no gains or
            discounts; in the loss: for labels that are negative, or not in the table, or above
            96 (float64 scores: 896), whose exponential gains no float32 holds, and for a
            `discount` of 1 or more beyond rank `k`.

    Example:

    >>> import functools
    >>> from keras_trainsteps.losses import pairwise_logistic, with_gumbel
    >>> weight = YetiDCG(gains="linear", discount="reciprocal")
    >>> labels, scores = [2.0, 1.0, 0.0], [3.0, 2.0, 1.0]
    >>> term = pairwise_logistic(labels, scores, query_ids=[0, 0, 0], lambda_weight=weight)
    >>> bool(np.isclose(term.total, (1 / 2 + 1 / 2) * np.log1p(np.exp(-1))))
    True
    >>> pairwise = functools.partial(pairwise_logistic, lambda_weight=weight)
    >>> yeti = with_gumbel(pairwise, samples=8, seed=1)
    >>> float(yeti(labels, scores, query_ids=[0, 0, 0]).count)  # 3 pairs, 8 times
    24.0

    Reference:
        Lyzhin, Ustimenko, Gulin and Prokhorenkova, Which Tricks Are Important for Learning to
        Rank?, ICML 2023.
    """

    grows = True

    def factor(self, rows: RankingRows) -> PairFactor:
        rank = ranks_from_1(rows.y_pred, rows)
        first, second = (
            discounts_of(self.discount, tf.constant([r], tf.float64)) for r in (1, 2)
        )
        worth = self.row_gains(rows) * tf.abs(first - second)
        return PairFactor(
            _neighbours, {"worth": worth, "rank": rank, "beyond": self._beyond(rank)}
        )

    def _beyond(self, rank: tf.Tensor) -> tf.Tensor:
        """What a pair is multiplied by whose lower row is here."""
        if self.k is None:
            return tf.ones_like(rank)
        beyond = rank > self.k
        discount = tf.where(beyond, discounts_of(self.discount, rank), tf.zeros_like(rank))
        rule = "`discount` must be below 1 beyond rank `k`"
        way_out = "Divide it by what it is at rank 1."
        discount = refuse(discount, ~(discount < 1), "discount", rule, way_out)
        return 1 / (1 - discount)


def _neighbours(i: dict[str, tf.Tensor], j: dict[str, tf.Tensor]) -> tf.Tensor:
    weight = tf.abs(i["worth"] - j["worth"])
    weight *= tf.where(i["rank"] > j["rank"], i["beyond"], j["beyond"])
    return tf.where(tf.abs(i["rank"] - j["rank"]) == 1, weight, tf.zeros_like(weight))
