"""The ranking losses as objects for `LossAwareModel.compile(loss=...)`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import keras
import tensorflow as tf

from keras_trainsteps.losses import approximate, listwise, pairwise, pointwise
from keras_trainsteps.losses.side_input_loss import SideInputLoss
from keras_trainsteps.side_inputs import pick
from keras_trainsteps.terms import LossTerm

_FROM_BATCH = ("y_true", "y_pred", "query_ids", "mask", "sample_weight", "query_weight")


class RankingLoss(SideInputLoss):
    """A ranking loss that reads its ids, mask and query weights from side inputs.

    Args:
        query_ids: The name of the side input with the query ids. Default `"query_id"`.
            `None` for padded lists.
        mask: The name of the side input with the mask. Default: none.
        query_weight: The name of the side input with the weights of queries. Default: none.
        name: The name of the loss. Default: that of its function.
        **options: The options of the function, by name.

    Raises:
        TypeError: For an option that the function does not have.
        ValueError: For an option that the function refuses.

    Example:

    >>> loss = PairwiseLogistic(query_ids="query_id", normalize="queries")
    >>> loss.side_inputs
    ('query_id',)
    """

    function: ClassVar[Callable[..., LossTerm]]

    def __init__(
        self,
        query_ids: str | None = "query_id",
        *,
        mask: str | None = None,
        query_weight: str | None = None,
        name: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(name=name or type(self).function.__name__)
        known = [
            option
            for option in inspect.signature(type(self).function).parameters
            if option not in _FROM_BATCH
        ]
        unknown = sorted(set(options) - set(known))
        if unknown:
            raise TypeError(
                f"`{type(self).__name__}` has the options {known}. Received: {unknown}."
            )
        self.query_ids, self.mask, self.query_weight = query_ids, mask, query_weight
        self.options = options
        # A batch without a row shows whether the options are right, before any training.
        type(self).function(tf.zeros((0, 1)), tf.zeros((0, 1)), **options)

    @property
    def side_inputs(self) -> tuple[str, ...]:
        names = (self.query_ids, self.mask, self.query_weight)
        return tuple(name for name in names if name is not None)

    def term(
        self, y_true: tf.Tensor, y_pred: tf.Tensor, x: Mapping[str, Any], sample_weight: Any
    ) -> LossTerm:
        named = {
            "query_ids": self.query_ids,
            "mask": self.mask,
            "query_weight": self.query_weight,
        }
        read = {argument: pick(x, name) for argument, name in named.items() if name is not None}
        return type(self).function(
            y_true, y_pred, sample_weight=sample_weight, **read, **self.options
        )

    def get_config(self) -> dict[str, Any]:
        options = {
            name: keras.saving.serialize_keras_object(value)
            for name, value in self.options.items()
        }
        return {
            "query_ids": self.query_ids,
            "mask": self.mask,
            "query_weight": self.query_weight,
            "name": self.name,
            **options,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> RankingLoss:
        """The loss with these arguments."""
        return cls(
            **{
                name: keras.saving.deserialize_keras_object(value)
                if isinstance(value, dict)
                else value
                for name, value in config.items()
            }
        )


@keras.saving.register_keras_serializable("keras_trainsteps")
class PairwiseLogistic(RankingLoss):
    """`pairwise_logistic` as an object."""

    function = staticmethod(pairwise.pairwise_logistic)


@keras.saving.register_keras_serializable("keras_trainsteps")
class PairwiseHinge(RankingLoss):
    """`pairwise_hinge` as an object."""

    function = staticmethod(pairwise.pairwise_hinge)


@keras.saving.register_keras_serializable("keras_trainsteps")
class PairwiseSquaredHinge(RankingLoss):
    """`pairwise_squared_hinge` as an object."""

    function = staticmethod(pairwise.pairwise_squared_hinge)


@keras.saving.register_keras_serializable("keras_trainsteps")
class PairwiseSoftZeroOne(RankingLoss):
    """`pairwise_soft_zero_one` as an object."""

    function = staticmethod(pairwise.pairwise_soft_zero_one)


@keras.saving.register_keras_serializable("keras_trainsteps")
class PairwiseMeanSquaredError(RankingLoss):
    """`pairwise_mean_squared_error` as an object."""

    function = staticmethod(pairwise.pairwise_mean_squared_error)


@keras.saving.register_keras_serializable("keras_trainsteps")
class Softmax(RankingLoss):
    """`softmax` as an object."""

    function = staticmethod(listwise.softmax)


@keras.saving.register_keras_serializable("keras_trainsteps")
class UniqueSoftmax(RankingLoss):
    """`unique_softmax` as an object."""

    function = staticmethod(listwise.unique_softmax)


@keras.saving.register_keras_serializable("keras_trainsteps")
class ListMLE(RankingLoss):
    """`list_mle` as an object."""

    function = staticmethod(listwise.list_mle)


@keras.saving.register_keras_serializable("keras_trainsteps")
class ApproxNDCG(RankingLoss):
    """`approx_ndcg` as an object."""

    function = staticmethod(approximate.approx_ndcg)


@keras.saving.register_keras_serializable("keras_trainsteps")
class ApproxMRR(RankingLoss):
    """`approx_mrr` as an object."""

    function = staticmethod(approximate.approx_mrr)


@keras.saving.register_keras_serializable("keras_trainsteps")
class SigmoidCrossentropy(RankingLoss):
    """`sigmoid_crossentropy` as an object."""

    function = staticmethod(pointwise.sigmoid_crossentropy)


@keras.saving.register_keras_serializable("keras_trainsteps")
class MeanSquaredError(RankingLoss):
    """`mean_squared_error` as an object."""

    function = staticmethod(pointwise.mean_squared_error)
