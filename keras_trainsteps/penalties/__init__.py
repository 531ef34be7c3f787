"""Penalties for `LossAwareModel.add_loss`: functions of weights, with trained coefficients."""

from keras_trainsteps.penalties.base import Penalty as Penalty
from keras_trainsteps.penalties.coefficients import (
    TrainableCoefficient as TrainableCoefficient,
)
from keras_trainsteps.penalties.functions import group_lasso as group_lasso
from keras_trainsteps.penalties.functions import orthogonality as orthogonality
from keras_trainsteps.penalties.functions import sum_of_norms as sum_of_norms
from keras_trainsteps.penalties.functions import tying as tying
from keras_trainsteps.penalties.l2sp import L2SP as L2SP
from keras_trainsteps.penalties.uncertainty import UncertaintyWeighting as UncertaintyWeighting
from keras_trainsteps.penalties.weights import WeightPenalty as WeightPenalty
