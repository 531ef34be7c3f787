"""Batches of whole queries, by class, by length, with negatives; queries as splits and lists."""

from keras_trainsteps.data.batch_order import BatchOrder
from keras_trainsteps.data.batching import query_batches
from keras_trainsteps.data.by_class import ByClass
from keras_trainsteps.data.by_length import ByLength
from keras_trainsteps.data.groups import groups_of_ids, ids_of_groups, of_rows
from keras_trainsteps.data.order import ROW_MASK, padding_of
from keras_trainsteps.data.ordered import ordered_batches
from keras_trainsteps.data.splits import split_by_query
from keras_trainsteps.data.top_k import TopK, top_k
from keras_trainsteps.data.with_negatives import WithNegatives

__all__ = [
    "ROW_MASK",
    "BatchOrder",
    "ByClass",
    "ByLength",
    "TopK",
    "WithNegatives",
    "groups_of_ids",
    "ids_of_groups",
    "of_rows",
    "ordered_batches",
    "padding_of",
    "query_batches",
    "split_by_query",
    "top_k",
]
