"""Losses as functions that return a `LossTerm`, and as objects for `compile`."""

from keras_trainsteps.losses.side_input_loss import SideInputLoss as SideInputLoss
from keras_trainsteps.losses.pairwise import PairwiseLogistic as PairwiseLogistic
from keras_trainsteps.losses.pairwise import pairwise_logistic as pairwise_logistic
