"""What a metric does about a query that is cut over two batches."""

from __future__ import annotations

from typing import Literal

import tensorflow as tf

from keras_trainsteps import compat
from keras_trainsteps.step.terms import FAILED

SplitQueries = Literal["error", "count_parts"]


def refuse_split(again: tf.Tensor) -> list[tf.Operation]:
    """Refuses a batch with a query of an earlier one: at once, or in the graph.

    Returns:
        What the rest of a graph must wait for. Under XLA, which cannot raise, nothing.
    """
    if compat.in_xla():
        return []
    message = (
        "A query must come whole in one batch. Received: rows of one query in two batches. "
        "Make batches with `data.query_batches`, reset the metric between epochs, or, where a "
        "query comes several times, each time whole, set `split_queries` of the metric to "
        "count_parts."
    )
    if not tf.executing_eagerly():
        return [tf.debugging.Assert(~again, [f"{FAILED}{message}"])]
    if bool(again):
        raise ValueError(message)
    return []
