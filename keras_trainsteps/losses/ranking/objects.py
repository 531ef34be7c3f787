"""The ranking losses as objects for `LossAwareModel.compile(loss=...)`."""

from __future__ import annotations

from typing import Any

import keras

from keras_trainsteps.losses.bound_loss import BoundLoss
from keras_trainsteps.losses.ranking import approximate, listwise, pairwise, pointwise


class RankingLoss(BoundLoss):
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

    def __init__(
        self,
        query_ids: str | None = "query_id",
        *,
        mask: str | None = None,
        query_weight: str | None = None,
        name: str | None = None,
        **options: Any,
    ) -> None:
        reads = {"query_ids": query_ids, "mask": mask, "query_weight": query_weight}
        super().__init__(reads, options, name=name)
        self.query_ids = query_ids


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
