"""Batches that keep queries whole."""

from keras_trainsteps.data.batching import query_batches

__all__ = ["query_batches"]
