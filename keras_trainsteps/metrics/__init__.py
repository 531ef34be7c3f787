"""Metrics that read side inputs."""

from keras_trainsteps.metrics.query_metric import QueryMetric as QueryMetric
from keras_trainsteps.metrics.ranking import NDCG as NDCG
from keras_trainsteps.metrics.ranking import PairAccuracy as PairAccuracy
from keras_trainsteps.metrics.sequence import Perplexity as Perplexity
from keras_trainsteps.metrics.sequence import SequenceAccuracy as SequenceAccuracy
from keras_trainsteps.metrics.sequence import TokenAccuracy as TokenAccuracy
