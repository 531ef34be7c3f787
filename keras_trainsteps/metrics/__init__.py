"""Metrics that read side inputs: of rankings, by query, and of sequences, by token."""

from keras_trainsteps.metrics.average_precision import MAP
from keras_trainsteps.metrics.dcg import DCG, NDCG
from keras_trainsteps.metrics.first_relevant import MRR, HitRateAtK
from keras_trainsteps.metrics.pair_accuracy import PairAccuracy, QueryAUC
from keras_trainsteps.metrics.precision_recall import PrecisionAtK, RecallAtK
from keras_trainsteps.metrics.query_metric import QueryMetric
from keras_trainsteps.metrics.relevance_position import ARP
from keras_trainsteps.metrics.sequence import Perplexity, SequenceAccuracy, TokenAccuracy

__all__ = [
    "ARP",
    "DCG",
    "MAP",
    "MRR",
    "NDCG",
    "HitRateAtK",
    "PairAccuracy",
    "Perplexity",
    "PrecisionAtK",
    "QueryAUC",
    "QueryMetric",
    "RecallAtK",
    "SequenceAccuracy",
    "TokenAccuracy",
]
