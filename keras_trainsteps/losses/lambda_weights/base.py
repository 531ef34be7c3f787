"""What a lambda weight is, and the plainest one."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from keras_trainsteps.pairs import PairFactor
from keras_trainsteps.queries import Gains, RankingRows
from keras_trainsteps.validation import repr_of


class LambdaWeight:
    """Base of lambda weights: options, and the factor that they give to each pair.

    A subclass fills `factor`, which says by a `PairFactor` what the two rows of a pair must
    know, and how the pair weighs then; `ranks(rows.y_pred, rows)` gives the ranks of the rows by
    score, from 0. With options it also fills `get_config`, and is registered with Keras, so that
    it is saved with its loss.

    Attributes:
        gains: What labels are worth, or `True` where they are gains themselves, which must not
            be negative. Default `False`: any labels.
        grows: Whether the loss grows with the gains, of which sums must then have a number.
            Default: not, as of gains over the best DCG of a query.
        symmetric: Whether both orders of a pair weigh the same. Default: they do. Those that do
            not cannot be used with `pairs="all"`, whose term is that of both orders.

    Example:

    >>> from keras_trainsteps import LossAwareModel
    >>> from keras_trainsteps.losses import PairwiseLogistic
    >>> from keras_trainsteps.losses.lambda_weights import ranks
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
    >>> loss = PairwiseLogistic(lambda_weight=NearTheTop(power=0.5))
    >>> inputs = keras.Input((2,), name="features")
    >>> model = LossAwareModel(inputs, keras.layers.Dense(1)(inputs))
    >>> model.compile("adam", loss=loss)
    >>> x = {"features": np.eye(4, 2), "query_id": np.array([7, 7, 8, 8])}
    >>> list(model.fit(x, np.array([1.0, 0.0, 2.0, 0.0]), verbose=0).history)
    ['loss']
    >>> keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    PairwiseLogistic(query_ids='query_id', lambda_weight=NearTheTop(power=0.5))
    """

    gains: Gains | bool = False
    grows = False
    symmetric = True

    def factor(self, rows: RankingRows) -> PairFactor:
        """The factor of each pair of these rows."""
        raise NotImplementedError(f"{type(self).__name__} must define `factor`.")

    def __repr__(self) -> str:
        return repr_of(self, {**self.get_config(), **vars(self)})

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
