"""Batches that keep queries whole."""

from keras_trainsteps.data.batching import query_batches
from keras_trainsteps.data.order import ROW_MASK, padding_of

__all__ = ["ROW_MASK", "padding_of", "query_batches"]
