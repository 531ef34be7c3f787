"""Lambda weights: what a pair weighs by how much a metric cares for its order.

With `r` the rank of a row by score within its query (from 1), `G = 2**y - 1` its gain and
`D(r) = 1 / log2(1 + r)` its discount, 0 beyond `k`, a pair of rows i, j weighs

- `LabelDifference()`: `abs(y_i - y_j)`.
- `DCG(k)`: `abs(G_i - G_j) * abs(D(r_i) - D(r_j))`, what swapping both changes in DCG.
- `NDCG(k)`: the same over the best DCG@k of the query.
- `NDCG2(k)`: `abs(G_i - G_j) * (D(n) - D(n + 1)) / best DCG@k`, `n = abs(r_i - r_j)`.
- `Precision(k)`: `1 / k` if one row is relevant (`y > 0`), the other is not, and only one
  of them is in the first `k` ranks.

To the gradient the weights are constants. They weigh the total and not the count, so a query's
loss depends on that query alone. A weight of one's own is a subclass of `LambdaWeight`.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from keras_trainsteps.pairs import PairFactor
from keras_trainsteps.queries import RankingRows, gain_shift, ranks
from keras_trainsteps.validation import as_count, repr_of

__all__ = [
    "DCG",
    "NDCG",
    "NDCG2",
    "LabelDifference",
    "LambdaWeight",
    "PairFactor",
    "Precision",
    "RankingRows",
    "ranks",
]

LN_2 = 0.6931471805599453


class LambdaWeight:
    """Base of lambda weights: options, and the factor that they give to each pair.

    A subclass fills `factor`, which says by a `PairFactor` what the two rows of a pair must
    know, and how the pair weighs then. With options it also fills `get_config`, and is
    registered with Keras, so that it is saved with its loss.

    Attributes:
        gains: Whether labels are taken for gains, which must not be negative. Default: not.

    Example:

    >>> from keras_trainsteps.losses import PairwiseLogistic
    >>> @keras.saving.register_keras_serializable("mine")
    ... class NearTheTop(LambdaWeight):
    ...     def __init__(self, power=1.0):
    ...         self.power = power
    ...     def factor(self, rows):
    ...         rank = 1 + tf.cast(ranks(rows.y_pred, rows), tf.float64)
    ...         def weigh(i, j):
    ...             return tf.minimum(i["rank"], j["rank"]) ** -self.power
    ...         return PairFactor(weigh, {"rank": rank})
    ...     def get_config(self):
    ...         return {"power": self.power}
    >>> PairwiseLogistic(lambda_weight=NearTheTop(power=0.5))
    PairwiseLogistic(query_ids='query_id', lambda_weight=NearTheTop(power=0.5))
    """

    gains = False

    def factor(self, rows: RankingRows) -> PairFactor:
        """The factor of each pair of these rows."""
        raise NotImplementedError(f"{type(self).__name__} must define `factor`.")

    def __repr__(self) -> str:
        return repr_of(self, self.get_config())

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> LambdaWeight:
        """The weight with these arguments."""
        return cls(**config)


@keras.saving.register_keras_serializable("keras_trainsteps.lambda_weights")
class LabelDifference(LambdaWeight):
    """A pair weighs the difference of its labels: `abs(y_i - y_j)`.

    For graded labels where confusing distant grades is worse.

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


class _TopK(LambdaWeight):
    """A weight that looks at the first `k` ranks."""

    def __init__(self, k: int | None = None) -> None:
        self.k = None if k is None else as_count("k", k)

    def get_config(self) -> dict[str, Any]:
        return {"k": self.k}

    def discount(self, rank: tf.Tensor) -> tf.Tensor:
        """`1 / log2(1 + rank)`, 0 beyond `k`; ranks from 1, float64."""
        discount = LN_2 / tf.math.log1p(rank)
        return discount if self.k is None else tf.where(rank <= self.k, discount, 0)


@keras.saving.register_keras_serializable("keras_trainsteps.lambda_weights")
class DCG(_TopK):
    """A pair weighs what swapping its rows changes in DCG@k.

    ```
    weight = abs(G_i - G_j) * abs(D(r_i) - D(r_j)),  G = 2 ** y - 1,  D(r) = 1 / log2(1 + r)
    ```

    with ranks `r` by score, from 1. Queries with many relevant rows weigh more.

    Args:
        k: Ranks that count; `D` is 0 beyond. Default `None`: all.

    Raises:
        ValueError: For a `k` that is no integer of at least 1; in the loss: for labels that
            are negative, or above 96 (float64 scores: 896), whose gains no float32 holds.

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

    gains = True

    def factor(self, rows: RankingRows) -> PairFactor:
        fields = {"gain": _gain(rows), "discount": self.discount(_rank(rows.y_pred, rows))}
        return PairFactor(_swap, fields)


@keras.saving.register_keras_serializable("keras_trainsteps.lambda_weights")
class NDCG(_TopK):
    """A pair weighs what swapping its rows changes in NDCG@k: LambdaRank.

    ```
    weight = abs(G_i - G_j) * abs(D(r_i) - D(r_j)) / best DCG@k of the query
    ```

    with `G`, `D` and `r` as in `DCG`.

    Args:
        k: Ranks that count; `D` is 0 beyond. Default `None`: all.

    Raises:
        ValueError: For a `k` that is no integer of at least 1; in the loss: for labels that
            are negative.

    Example:

    >>> from keras_trainsteps.losses import pairwise_logistic
    >>> term = pairwise_logistic(
    ...     [1.0, 0.0], [0.0, 1.0], query_ids=[0, 0], lambda_weight=NDCG(k=10)
    ... )
    >>> bool(np.isclose(term.total, (1 - 1 / np.log2(3)) * np.log1p(np.exp(1))))
    True

    Reference:
        Burges, Ragno and Le, Learning to Rank with Nonsmooth Cost Functions, NIPS 2006.
    """

    gains = True

    def factor(self, rows: RankingRows) -> PairFactor:
        gain = _gain_over_best(self, rows)
        fields = {"gain": gain, "discount": self.discount(_rank(rows.y_pred, rows))}
        return PairFactor(_swap, fields)


@keras.saving.register_keras_serializable("keras_trainsteps.lambda_weights")
class NDCG2(_TopK):
    """NDCG-Loss2 of LambdaLoss: a bound of NDCG that looks at the distance of the ranks.

    ```
    weight = abs(G_i - G_j) * (D(n) - D(n + 1)) / best DCG@k,    n = abs(r_i - r_j)
    ```

    with `G`, `D` and `r` as in `DCG`; without the LambdaRank part of the paper.

    Args:
        k: Ranks that count in the best DCG; a pair with both rows beyond it weighs 0.
            Default `None`: all.

    Raises:
        ValueError: For a `k` that is no integer of at least 1; in the loss: for labels that
            are negative.

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

    gains = True

    def factor(self, rows: RankingRows) -> PairFactor:
        rank = _rank(rows.y_pred, rows)
        fields = {"gain": _gain_over_best(self, rows), "rank": rank}
        if self.k is None:
            return PairFactor(_by_distance, fields)
        # A field and no closure: so the sums are the same for every `k`, and traced once.
        within = tf.cast(rank <= self.k, tf.float64)
        return PairFactor(_by_distance_within, {**fields, "within": within})


@keras.saving.register_keras_serializable("keras_trainsteps.lambda_weights")
class Precision(_TopK):
    """A pair weighs what swapping its rows changes in precision@k.

    That is `1 / k` if one row is relevant (`y > 0`), the other is not, and only one of them is
    in the first `k` ranks; else 0.

    Args:
        k: Ranks that count, at least 1.

    Raises:
        ValueError: For a `k` that is no integer of at least 1.

    Example:

    >>> from keras_trainsteps.losses import pairwise_logistic
    >>> term = pairwise_logistic(
    ...     [1.0, 0.0, 0.0], [0.0, 0.0, 0.0], query_ids=[0, 0, 0], lambda_weight=Precision(k=2)
    ... )
    >>> bool(np.isclose(term.total, np.log(2) / 2))  # only the third row is beyond rank 2
    True
    """

    def __init__(self, k: int) -> None:
        super().__init__(as_count("k", k))

    def factor(self, rows: RankingRows) -> PairFactor:
        within = tf.cast(_rank(rows.y_pred, rows) <= self.k, tf.float64) / self.k
        relevant = tf.cast(rows.y_true > 0, tf.float64)
        return PairFactor(_swap, {"gain": relevant, "discount": within})


def _swap(i: dict[str, tf.Tensor], j: dict[str, tf.Tensor]) -> tf.Tensor:
    return tf.abs(i["gain"] - j["gain"]) * tf.abs(i["discount"] - j["discount"])


def _by_distance(i: dict[str, tf.Tensor], j: dict[str, tf.Tensor]) -> tf.Tensor:
    distance = tf.maximum(tf.abs(i["rank"] - j["rank"]), 1)
    change = LN_2 / tf.math.log1p(distance) - LN_2 / tf.math.log1p(distance + 1)
    return tf.abs(i["gain"] - j["gain"]) * change


def _by_distance_within(i: dict[str, tf.Tensor], j: dict[str, tf.Tensor]) -> tf.Tensor:
    return _by_distance(i, j) * tf.maximum(i["within"], j["within"])


def _rank(key: tf.Tensor, rows: RankingRows) -> tf.Tensor:
    """Ranks from 1, float64."""
    return tf.cast(ranks(tf.stop_gradient(key), rows), tf.float64) + 1


def _gain(rows: RankingRows) -> tf.Tensor:
    return tf.math.expm1(rows.y_true * LN_2)


def _gain_over_best(weight: _TopK, rows: RankingRows) -> tf.Tensor:
    """Gains over the best DCG@k of the query; 0 where that is 0."""
    shift = gain_shift(rows.y_true, rows.query, rows.num_queries)
    # `2**(y - shift) - 2**-shift`, exact for small labels, too.
    gain = tf.where(shift > 0, 2.0 ** (rows.y_true - shift), _gain(rows))
    best = tf.math.unsorted_segment_sum(
        gain * weight.discount(_rank(rows.y_true, rows)), rows.query, rows.num_queries
    )
    return tf.math.divide_no_nan(gain, tf.gather(best, tf.maximum(rows.query, 0)))
