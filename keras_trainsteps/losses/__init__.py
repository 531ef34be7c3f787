"""Losses as functions that return a `LossTerm`, and as objects for `compile`."""

from keras_trainsteps.losses import lambda_weights
from keras_trainsteps.losses.clicks.position_bias import PositionBias
from keras_trainsteps.losses.clicks.propensities import (
    estimate_propensities,
    inverse_propensity_weights,
)
from keras_trainsteps.losses.embeddings.contrastive import contrastive, margin_loss
from keras_trainsteps.losses.embeddings.info_nce import info_nce
from keras_trainsteps.losses.embeddings.mined_triplet import mined_triplet
from keras_trainsteps.losses.embeddings.multi_similarity import multi_similarity
from keras_trainsteps.losses.embeddings.objects.base import LabelLoss, OutputsLoss
from keras_trainsteps.losses.embeddings.objects.contrastive import Contrastive, MarginLoss
from keras_trainsteps.losses.embeddings.objects.labels import (
    MinedTriplet,
    MultiSimilarity,
    SupervisedContrastive,
)
from keras_trainsteps.losses.embeddings.objects.outputs import InfoNCE, NTXent, Triplet
from keras_trainsteps.losses.embeddings.sampling import expected_count, sampling_probability
from keras_trainsteps.losses.embeddings.supervised_contrastive import (
    nt_xent,
    supervised_contrastive,
)
from keras_trainsteps.losses.embeddings.triplet import triplet
from keras_trainsteps.losses.gradient_penalty import gradient_penalty
from keras_trainsteps.losses.ranking.approximate import approx_mrr, approx_ndcg
from keras_trainsteps.losses.ranking.gumbel import gumbel, with_gumbel
from keras_trainsteps.losses.ranking.list_mle import list_mle
from keras_trainsteps.losses.ranking.listwise import softmax, unique_softmax
from keras_trainsteps.losses.ranking.objects.approximate import ApproxMRR, ApproxNDCG
from keras_trainsteps.losses.ranking.objects.base import RankingLoss
from keras_trainsteps.losses.ranking.objects.listwise import ListMLE, Softmax, UniqueSoftmax
from keras_trainsteps.losses.ranking.objects.pairwise import (
    PairwiseLogistic,
    PairwiseMeanSquaredError,
    PairwiseSoftZeroOne,
)
from keras_trainsteps.losses.ranking.objects.pairwise_hinge import (
    PairwiseHinge,
    PairwiseSquaredHinge,
)
from keras_trainsteps.losses.ranking.objects.pointwise import (
    MeanSquaredError,
    SigmoidCrossentropy,
)
from keras_trainsteps.losses.ranking.pairwise import (
    pairwise_hinge,
    pairwise_logistic,
    pairwise_mean_squared_error,
    pairwise_soft_zero_one,
    pairwise_squared_hinge,
)
from keras_trainsteps.losses.ranking.pointwise import mean_squared_error, sigmoid_crossentropy
from keras_trainsteps.losses.sequences.crossentropy import masked_crossentropy
from keras_trainsteps.losses.sequences.objects import MaskedCrossentropy
from keras_trainsteps.step.side_input_loss import SideInputLoss

__all__ = [
    "ApproxMRR",
    "ApproxNDCG",
    "Contrastive",
    "InfoNCE",
    "LabelLoss",
    "ListMLE",
    "MarginLoss",
    "MaskedCrossentropy",
    "MeanSquaredError",
    "MinedTriplet",
    "MultiSimilarity",
    "NTXent",
    "OutputsLoss",
    "PairwiseHinge",
    "PairwiseLogistic",
    "PairwiseMeanSquaredError",
    "PairwiseSoftZeroOne",
    "PairwiseSquaredHinge",
    "PositionBias",
    "RankingLoss",
    "SideInputLoss",
    "SigmoidCrossentropy",
    "Softmax",
    "SupervisedContrastive",
    "Triplet",
    "UniqueSoftmax",
    "approx_mrr",
    "approx_ndcg",
    "contrastive",
    "estimate_propensities",
    "expected_count",
    "gradient_penalty",
    "gumbel",
    "info_nce",
    "inverse_propensity_weights",
    "lambda_weights",
    "list_mle",
    "margin_loss",
    "masked_crossentropy",
    "mean_squared_error",
    "mined_triplet",
    "multi_similarity",
    "nt_xent",
    "pairwise_hinge",
    "pairwise_logistic",
    "pairwise_mean_squared_error",
    "pairwise_soft_zero_one",
    "pairwise_squared_hinge",
    "sampling_probability",
    "sigmoid_crossentropy",
    "softmax",
    "supervised_contrastive",
    "triplet",
    "unique_softmax",
    "with_gumbel",
]
