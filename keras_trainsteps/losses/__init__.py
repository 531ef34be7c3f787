"""Losses as functions that return a `LossTerm`, and as objects for `compile`."""

from keras_trainsteps.losses.embeddings.contrastive import contrastive as contrastive
from keras_trainsteps.losses.embeddings.contrastive import margin_loss as margin_loss
from keras_trainsteps.losses.embeddings.info_nce import info_nce as info_nce
from keras_trainsteps.losses.embeddings.mined_triplet import mined_triplet as mined_triplet
from keras_trainsteps.losses.embeddings.multi_similarity import (
    multi_similarity as multi_similarity,
)
from keras_trainsteps.losses.embeddings.objects import Contrastive as Contrastive
from keras_trainsteps.losses.embeddings.objects import InfoNCE as InfoNCE
from keras_trainsteps.losses.embeddings.objects import LabelLoss as LabelLoss
from keras_trainsteps.losses.embeddings.objects import MarginLoss as MarginLoss
from keras_trainsteps.losses.embeddings.objects import MinedTriplet as MinedTriplet
from keras_trainsteps.losses.embeddings.objects import MultiSimilarity as MultiSimilarity
from keras_trainsteps.losses.embeddings.objects import NTXent as NTXent
from keras_trainsteps.losses.embeddings.objects import OutputsLoss as OutputsLoss
from keras_trainsteps.losses.embeddings.objects import (
    SupervisedContrastive as SupervisedContrastive,
)
from keras_trainsteps.losses.embeddings.objects import Triplet as Triplet
from keras_trainsteps.losses.embeddings.supervised_contrastive import nt_xent as nt_xent
from keras_trainsteps.losses.embeddings.supervised_contrastive import (
    supervised_contrastive as supervised_contrastive,
)
from keras_trainsteps.losses.embeddings.triplet import triplet as triplet
from keras_trainsteps.losses.ranking import lambda_weights as lambda_weights
from keras_trainsteps.losses.ranking.approximate import approx_mrr as approx_mrr
from keras_trainsteps.losses.ranking.approximate import approx_ndcg as approx_ndcg
from keras_trainsteps.losses.ranking.gumbel import gumbel as gumbel
from keras_trainsteps.losses.ranking.gumbel import with_gumbel as with_gumbel
from keras_trainsteps.losses.ranking.listwise import list_mle as list_mle
from keras_trainsteps.losses.ranking.listwise import softmax as softmax
from keras_trainsteps.losses.ranking.listwise import unique_softmax as unique_softmax
from keras_trainsteps.losses.ranking.objects import ApproxMRR as ApproxMRR
from keras_trainsteps.losses.ranking.objects import ApproxNDCG as ApproxNDCG
from keras_trainsteps.losses.ranking.objects import ListMLE as ListMLE
from keras_trainsteps.losses.ranking.objects import MeanSquaredError as MeanSquaredError
from keras_trainsteps.losses.ranking.objects import PairwiseHinge as PairwiseHinge
from keras_trainsteps.losses.ranking.objects import PairwiseLogistic as PairwiseLogistic
from keras_trainsteps.losses.ranking.objects import (
    PairwiseMeanSquaredError as PairwiseMeanSquaredError,
)
from keras_trainsteps.losses.ranking.objects import PairwiseSoftZeroOne as PairwiseSoftZeroOne
from keras_trainsteps.losses.ranking.objects import PairwiseSquaredHinge as PairwiseSquaredHinge
from keras_trainsteps.losses.ranking.objects import RankingLoss as RankingLoss
from keras_trainsteps.losses.ranking.objects import SigmoidCrossentropy as SigmoidCrossentropy
from keras_trainsteps.losses.ranking.objects import Softmax as Softmax
from keras_trainsteps.losses.ranking.objects import UniqueSoftmax as UniqueSoftmax
from keras_trainsteps.losses.ranking.pairwise import pairwise_hinge as pairwise_hinge
from keras_trainsteps.losses.ranking.pairwise import pairwise_logistic as pairwise_logistic
from keras_trainsteps.losses.ranking.pairwise import (
    pairwise_mean_squared_error as pairwise_mean_squared_error,
)
from keras_trainsteps.losses.ranking.pairwise import (
    pairwise_soft_zero_one as pairwise_soft_zero_one,
)
from keras_trainsteps.losses.ranking.pairwise import (
    pairwise_squared_hinge as pairwise_squared_hinge,
)
from keras_trainsteps.losses.ranking.pointwise import mean_squared_error as mean_squared_error
from keras_trainsteps.losses.ranking.pointwise import sigmoid_crossentropy as sigmoid_crossentropy
from keras_trainsteps.losses.sequences.crossentropy import (
    masked_crossentropy as masked_crossentropy,
)
from keras_trainsteps.losses.sequences.objects import MaskedCrossentropy as MaskedCrossentropy
from keras_trainsteps.step.side_input_loss import SideInputLoss as SideInputLoss
