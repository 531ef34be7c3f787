"""Metrics that read side inputs: of rankings, by query, and of sequences, by token."""

from keras_trainsteps.metrics.average_precision import MAP
from keras_trainsteps.metrics.binary_preference import BPref
from keras_trainsteps.metrics.comparison import Comparison, compare
from keras_trainsteps.metrics.corpus_recall import CorpusRecall
from keras_trainsteps.metrics.dcg import DCG, NDCG
from keras_trainsteps.metrics.edit_distance import EditDistance
from keras_trainsteps.metrics.expected_reciprocal_rank import ERR
from keras_trainsteps.metrics.f1 import F1AtK
from keras_trainsteps.metrics.first_relevant import MRR, HitRateAtK
from keras_trainsteps.metrics.pair_accuracy import OPA, PairAccuracy, QueryAUC
from keras_trainsteps.metrics.per_query import per_query
from keras_trainsteps.metrics.precision_at_relevant import RPrecision
from keras_trainsteps.metrics.precision_recall import PrecisionAtK, RecallAtK
from keras_trainsteps.metrics.query_metric import QueryMetric
from keras_trainsteps.metrics.query_table import Interval, QueryTable
from keras_trainsteps.metrics.rank_biased_precision import RBP
from keras_trainsteps.metrics.rank_correlation import KendallTau, SpearmanRho
from keras_trainsteps.metrics.relevance_position import ARP
from keras_trainsteps.metrics.sequence import Perplexity, SequenceAccuracy, TokenAccuracy

__all__ = [
    "ARP",
    "DCG",
    "ERR",
    "MAP",
    "MRR",
    "NDCG",
    "OPA",
    "RBP",
    "BPref",
    "Comparison",
    "CorpusRecall",
    "EditDistance",
    "F1AtK",
    "HitRateAtK",
    "Interval",
    "KendallTau",
    "PairAccuracy",
    "Perplexity",
    "PrecisionAtK",
    "QueryAUC",
    "QueryMetric",
    "QueryTable",
    "RPrecision",
    "RecallAtK",
    "SequenceAccuracy",
    "SpearmanRho",
    "TokenAccuracy",
    "compare",
    "per_query",
]
