"""Lambda weights: what a pair weighs by how much a metric cares for its order.

With `r` the rank of a row by score within its query (from 1), `G = 2**y - 1` its gain and
`D(r) = 1 / log2(1 + r)` its discount, 0 beyond `topn`:

- `LabelDifference()`: a pair of rows i, j weighs `abs(y_i - y_j)`.
- `DCG(topn)`: `abs(G_i - G_j) * abs(D(r_i) - D(r_j))`, what swapping both changes in DCG.
- `NDCG(topn)`: the same over the best DCG@topn of the query.
- `NDCG2(topn)`: `abs(G_i - G_j) * (D(k) - D(k + 1)) / best DCG@topn`, `k = abs(r_i - r_j)`.
- `Precision(topn)`: `1 / topn` if one row is relevant (`y > 0`), the other is not, and only one
  of them is in the first `topn` ranks.

To the gradient the weights are constants. They weigh the total and not the count, so a query's
loss depends on that query alone.

References:
    Burges, Ragno and Le, Learning to Rank with Nonsmooth Cost Functions, NIPS 2006 (LambdaRank);
    Wang et al., The LambdaLoss Framework for Ranking Metric Optimization, CIKM 2018 (`NDCG2`,
    without its LambdaRank part: their NDCG-Loss2).
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from keras_trainsteps.pairs import PairFactor
from keras_trainsteps.queries import RankingRows, ranks

LN_2 = 0.6931471805599453


class LambdaWeight:
    """Base of lambda weights: an object with a configuration that gives a `PairFactor`.

    Attributes:
        gains: Whether labels are taken for gains, which must not be negative.
    """

    gains = False

    def factor(self, rows: RankingRows) -> PairFactor:
        """The factor of each pair of these rows."""
        raise NotImplementedError(f"{type(self).__name__} must define `factor`.")

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> LambdaWeight:
        """The weight with these arguments."""
        return cls(**config)


@keras.saving.register_keras_serializable("keras_trainsteps.lambda_weights")
class LabelDifference(LambdaWeight):
    """A pair weighs the difference of its labels.

    Example:

    >>> from keras_trainsteps.losses import pairwise_logistic
    >>> term = pairwise_logistic(
    ...     [3.0, 1.0], [0.0, 0.0], query_ids=[0, 0], lambda_weight=LabelDifference()
    ... )
    >>> bool(np.isclose(term.total, 2 * np.log(2)))
    True
    """

    def factor(self, rows: RankingRows) -> PairFactor:
        return PairFactor(lambda i, j: tf.abs(i["y"] - j["y"]), {"y": rows.y_true})


class _TopN(LambdaWeight):
    """A weight that looks at the first `topn` ranks."""

    def __init__(self, topn: int | None = None) -> None:
        if topn is not None and (not isinstance(topn, int) or topn < 1):
            raise ValueError(
                f"`topn` must be an integer of at least 1, or `None` for all. Received: {topn!r}."
            )
        self.topn = topn

    def get_config(self) -> dict[str, Any]:
        return {"topn": self.topn}

    def discount(self, rank: tf.Tensor) -> tf.Tensor:
        """`1 / log2(1 + rank)`, 0 beyond `topn`; ranks from 1, float64."""
        discount = LN_2 / tf.math.log1p(rank)
        return discount if self.topn is None else tf.where(rank <= self.topn, discount, 0)


@keras.saving.register_keras_serializable("keras_trainsteps.lambda_weights")
class DCG(_TopN):
    """A pair weighs what swapping its rows changes in DCG@topn.

    Args:
        topn: Ranks that count. Default `None`: all.
    """

    gains = True

    def factor(self, rows: RankingRows) -> PairFactor:
        fields = {"gain": _gain(rows), "discount": self.discount(_rank(rows.y_pred, rows))}
        return PairFactor(_swap, fields)


@keras.saving.register_keras_serializable("keras_trainsteps.lambda_weights")
class NDCG(_TopN):
    """A pair weighs what swapping its rows changes in NDCG@topn, as in LambdaRank.

    Args:
        topn: Ranks that count. Default `None`: all.

    Example:

    >>> from keras_trainsteps.losses import pairwise_logistic
    >>> term = pairwise_logistic(
    ...     [1.0, 0.0], [0.0, 1.0], query_ids=[0, 0], lambda_weight=NDCG(topn=10)
    ... )
    >>> bool(np.isclose(term.total, (1 - 1 / np.log2(3)) * np.log1p(np.exp(1))))
    True
    """

    gains = True

    def factor(self, rows: RankingRows) -> PairFactor:
        gain = _gain_over_best(self, rows)
        fields = {"gain": gain, "discount": self.discount(_rank(rows.y_pred, rows))}
        return PairFactor(_swap, fields)


@keras.saving.register_keras_serializable("keras_trainsteps.lambda_weights")
class NDCG2(_TopN):
    """NDCG-Loss2 of LambdaLoss: a bound of NDCG that looks at the distance of the ranks.

    Args:
        topn: Ranks that count in the best DCG; a pair with both rows beyond it weighs 0.
    """

    gains = True

    def factor(self, rows: RankingRows) -> PairFactor:
        def by_distance(i: dict[str, tf.Tensor], j: dict[str, tf.Tensor]) -> tf.Tensor:
            distance = tf.maximum(tf.abs(i["rank"] - j["rank"]), 1)
            change = LN_2 / tf.math.log1p(distance) - LN_2 / tf.math.log1p(distance + 1)
            if self.topn is not None:
                within = tf.minimum(i["rank"], j["rank"]) <= self.topn
                change = tf.where(within, change, 0)
            return tf.abs(i["gain"] - j["gain"]) * change

        fields = {"gain": _gain_over_best(self, rows), "rank": _rank(rows.y_pred, rows)}
        return PairFactor(by_distance, fields)


@keras.saving.register_keras_serializable("keras_trainsteps.lambda_weights")
class Precision(_TopN):
    """A pair weighs what swapping its rows changes in precision@topn.

    Args:
        topn: Ranks that count, at least 1.
    """

    def __init__(self, topn: int) -> None:
        super().__init__(topn)
        self.first = int(topn)

    def factor(self, rows: RankingRows) -> PairFactor:
        within = tf.cast(_rank(rows.y_pred, rows) <= self.first, tf.float64) / self.first
        relevant = tf.cast(rows.y_true > 0, tf.float64)
        return PairFactor(_swap, {"gain": relevant, "discount": within})


def _swap(i: dict[str, tf.Tensor], j: dict[str, tf.Tensor]) -> tf.Tensor:
    return tf.abs(i["gain"] - j["gain"]) * tf.abs(i["discount"] - j["discount"])


def _rank(key: tf.Tensor, rows: RankingRows) -> tf.Tensor:
    """Ranks from 1, float64."""
    return tf.cast(ranks(tf.stop_gradient(key), rows), tf.float64) + 1


def _gain(rows: RankingRows) -> tf.Tensor:
    return tf.math.expm1(tf.cast(rows.y_true, tf.float64) * LN_2)


def _gain_over_best(weight: _TopN, rows: RankingRows) -> tf.Tensor:
    """Gains over the best DCG@topn of the query; 0 where that is 0."""
    gain = _gain(rows)
    best = tf.math.unsorted_segment_sum(
        gain * weight.discount(_rank(rows.y_true, rows)), rows.query, rows.num_queries
    )
    return tf.math.divide_no_nan(gain, tf.gather(best, tf.maximum(rows.query, 0)))
