"""Keras models whose loss sees more than `(y_true, y_pred)`, trained by plain `fit`.

Subclass `LossAwareModel` and return named losses from `compute_losses`, or compile it with
losses and metrics that name their side inputs. What ships with it is in `losses`, `metrics`,
`data` (batches of whole queries), `penalties` (losses of weights), `plots` and `rolling`
(serving, resuming, daily updates).
"""

from importlib.metadata import version

from keras_trainsteps import compat as compat  # before Keras loads a backend
from keras_trainsteps import data as data
from keras_trainsteps import losses as losses
from keras_trainsteps import metrics as metrics
from keras_trainsteps import penalties as penalties
from keras_trainsteps.model import LossAwareModel as LossAwareModel
from keras_trainsteps.model import LossAwareSequential as LossAwareSequential
from keras_trainsteps.progress import TermProgress as TermProgress
from keras_trainsteps.step.ema import Ema as Ema
from keras_trainsteps.step.for_objective import ForObjective as ForObjective
from keras_trainsteps.step.loss_schedules import LossWeightScheduler as LossWeightScheduler
from keras_trainsteps.step.objective import Objective as Objective
from keras_trainsteps.step.queue import Queue as Queue
from keras_trainsteps.step.terms import LossTerm as LossTerm

__all__ = [
    "Ema",
    "ForObjective",
    "LossAwareModel",
    "LossAwareSequential",
    "LossTerm",
    "LossWeightScheduler",
    "Objective",
    "Queue",
    "TermProgress",
    "data",
    "losses",
    "metrics",
    "penalties",
]

__version__ = version("keras-trainsteps")
