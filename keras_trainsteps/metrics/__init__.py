"""Metrics that read side inputs."""

from keras_trainsteps.metrics.average_precision import MAP as MAP
from keras_trainsteps.metrics.dcg import DCG as DCG
from keras_trainsteps.metrics.dcg import NDCG as NDCG
from keras_trainsteps.metrics.first_relevant import MRR as MRR
from keras_trainsteps.metrics.first_relevant import HitRateAtK as HitRateAtK
from keras_trainsteps.metrics.pair_accuracy import PairAccuracy as PairAccuracy
from keras_trainsteps.metrics.pair_accuracy import QueryAUC as QueryAUC
from keras_trainsteps.metrics.precision_recall import PrecisionAtK as PrecisionAtK
from keras_trainsteps.metrics.precision_recall import RecallAtK as RecallAtK
from keras_trainsteps.metrics.query_metric import QueryMetric as QueryMetric
from keras_trainsteps.metrics.relevance_position import ARP as ARP
from keras_trainsteps.metrics.sequence import Perplexity as Perplexity
from keras_trainsteps.metrics.sequence import SequenceAccuracy as SequenceAccuracy
from keras_trainsteps.metrics.sequence import TokenAccuracy as TokenAccuracy
