"""Penalties for `LossAwareModel.add_loss`: functions of weights, with trained coefficients."""

from keras_trainsteps.penalties.base import Penalty
from keras_trainsteps.penalties.coefficients import TrainableCoefficient
from keras_trainsteps.penalties.functions import (
    group_lasso,
    orthogonality,
    sum_of_norms,
    tying,
)
from keras_trainsteps.penalties.l2sp import L2SP
from keras_trainsteps.penalties.uncertainty import UncertaintyWeighting
from keras_trainsteps.penalties.weights import WeightPenalty

__all__ = [
    "L2SP",
    "Penalty",
    "TrainableCoefficient",
    "UncertaintyWeighting",
    "WeightPenalty",
    "group_lasso",
    "orthogonality",
    "sum_of_norms",
    "tying",
]
