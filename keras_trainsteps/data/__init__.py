"""Batches that keep queries whole, and queries as splits, lists and groups."""

from keras_trainsteps.data.batching import query_batches
from keras_trainsteps.data.groups import groups_of_ids, ids_of_groups, of_rows
from keras_trainsteps.data.order import ROW_MASK, padding_of
from keras_trainsteps.data.splits import split_by_query
from keras_trainsteps.data.top_k import TopK, top_k

__all__ = [
    "ROW_MASK",
    "TopK",
    "groups_of_ids",
    "ids_of_groups",
    "of_rows",
    "padding_of",
    "query_batches",
    "split_by_query",
    "top_k",
]
