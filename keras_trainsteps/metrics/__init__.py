"""Metrics that read side inputs."""

from keras_trainsteps.metrics.query_metric import QueryMetric as QueryMetric
from keras_trainsteps.metrics.ranking import NDCG as NDCG
from keras_trainsteps.metrics.ranking import PairAccuracy as PairAccuracy
