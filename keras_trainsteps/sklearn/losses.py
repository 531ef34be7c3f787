"""The loss of a `Ranker`, by name or as an object."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from keras_trainsteps import losses
from keras_trainsteps.losses import RankingLoss
from keras_trainsteps.losses.lambda_weights import NDCG

Make: TypeAlias = Callable[[int | None, Any], RankingLoss]
"""A loss from the ranks that count and the gains of labels."""

FEATURES = "features"
"""The name of the input of a `Ranker`'s network."""

LOSSES: dict[str, Make] = {
    "approx_mrr": lambda k, gains: losses.ApproxMRR(),
    "approx_ndcg": lambda k, gains: losses.ApproxNDCG(gains=gains),
    "lambdarank": lambda k, gains: losses.PairwiseLogistic(lambda_weight=NDCG(k=k, gains=gains)),
    "list_mle": lambda k, gains: losses.ListMLE(),
    "mean_squared_error": lambda k, gains: losses.MeanSquaredError(),
    "pairwise_hinge": lambda k, gains: losses.PairwiseHinge(),
    "pairwise_logistic": lambda k, gains: losses.PairwiseLogistic(),
    "pairwise_mean_squared_error": lambda k, gains: losses.PairwiseMeanSquaredError(),
    "pairwise_soft_zero_one": lambda k, gains: losses.PairwiseSoftZeroOne(),
    "pairwise_squared_hinge": lambda k, gains: losses.PairwiseSquaredHinge(),
    "sigmoid_crossentropy": lambda k, gains: losses.SigmoidCrossentropy(),
    "softmax": lambda k, gains: losses.Softmax(),
    "unique_softmax": lambda k, gains: losses.UniqueSoftmax(gains=gains),
}


def as_ranking_loss(loss: Any, k: int | None, gains: Any) -> tuple[RankingLoss, str]:
    """The loss object that `loss` names or is, and the name of the query ids it reads."""
    if isinstance(loss, str) and loss in LOSSES:
        loss = LOSSES[loss](k, gains)
    if isinstance(loss, RankingLoss):
        if loss.query_ids is None or loss.side_inputs != (loss.query_ids,):
            raise ValueError(
                "`loss` must read query ids and nothing else: a `Ranker` has no masks, padded "
                f"lists or weights of queries to give. Received: {loss!r}. Weights of rows are "
                "`fit(sample_weight=...)`; one a query becomes one a row by `data.of_rows`."
            )
        if loss.query_ids == FEATURES:
            raise ValueError(
                "`loss` must not name its query ids as the features are named. Received: "
                f"{loss!r}. Leave `query_ids` at its default."
            )
        return loss, loss.query_ids
    listed = ", ".join(f"'{name}'" for name in LOSSES)
    raise ValueError(
        f"`loss` must be one of {listed}, or a ranking loss as `losses.Softmax()`. "
        f"Received: {loss!r}."
    )
