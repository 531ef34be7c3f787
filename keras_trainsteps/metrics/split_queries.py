"""Finding queries that are split over two batches, with a state of fixed size."""

from __future__ import annotations

from typing import Any, Literal

import keras
import tensorflow as tf

from keras_trainsteps import compat, replicas
from keras_trainsteps.terms import FAILED

SplitQueries = Literal["count_parts", "error"]
WATCHED = 4096


class QueryWatch:
    """Refuses a query that comes back in a later batch of an epoch.

    Remembering every query of an epoch would take a state without bound. Remembered are
    the query of the last row of the batch before, which finds what a batch border cuts,
    and the `WATCHED` queries with the greatest hashes so far, which are found in any
    batch. In an epoch of no more queries these are all of them.

    Args:
        metric: The metric whose state this is: all zeros when it is reset.
    """

    def __init__(self, metric: keras.metrics.Metric) -> None:
        options = {"dtype": "int64", "aggregation": "only_first_replica"}
        self.seen = metric.add_variable((WATCHED,), "zeros", name="seen", **options)
        self.last = metric.add_variable((), "zeros", name="last", **options)

    def check(self, query_ids: Any, query: tf.Tensor) -> None:
        """Refuses a batch with a query of an earlier one, and remembers its queries.

        Args:
            query_ids: The ids of the batch, one a row.
            query: Dense query index of each row; -1 for a masked row, which is not seen.
        """
        if compat.in_xla() or replicas.num_replicas() > 1:
            where = "under XLA" if compat.in_xla() else "on several replicas"
            raise ValueError(
                f"`split_queries` must be 'count_parts' {where}. Received: 'error', which "
                "is checked on one device without XLA. Batches of `data.query_batches` "
                "never split a query."
            )
        keys = tf.boolean_mask(_hashes(query_ids), query >= 0)
        seen, last = tf.convert_to_tensor(self.seen), tf.convert_to_tensor(self.last)
        place = tf.minimum(tf.searchsorted(seen, keys), WATCHED - 1)
        again = tf.reduce_any((tf.gather(seen, place) == keys) | (keys == last))
        with tf.control_dependencies(_refuse(again)):
            known = tf.unique(tf.concat([seen, keys], axis=0))[0]
            known = tf.concat([known, tf.zeros((WATCHED,), tf.int64)], axis=0)
            self.seen.assign(tf.reverse(tf.math.top_k(known, WATCHED)[0], [0]))
            self.last.assign(tf.concat([last[None], keys], axis=0)[-1])


def _hashes(query_ids: Any) -> tf.Tensor:
    """Integers above 0; two of n queries share one with probability n**2 / 2**64."""
    ids = tf.reshape(tf.convert_to_tensor(query_ids), (-1,))
    if ids.dtype != tf.string:
        ids = tf.strings.as_string(ids)
    return tf.strings.to_hash_bucket_fast(ids, 2**63 - 1) + 1


def _refuse(again: tf.Tensor) -> list[tf.Operation]:
    message = (
        "A query must come whole in one batch. Received: rows of one query in two batches. "
        "Make batches with `data.query_batches`, reset the metric between epochs, or set "
        "`split_queries` to count_parts."
    )
    if not tf.executing_eagerly():
        return [tf.debugging.Assert(~again, [f"{FAILED}{message}"])]
    if bool(again):
        raise ValueError(message)
    return []
