"""Finding queries that are cut over two batches, with a state of a few bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import keras
import tensorflow as tf

from keras_trainsteps import compat, replicas
from keras_trainsteps.step.terms import FAILED
from keras_trainsteps.validation import TensorLike

SplitQueries = Literal["error", "count_parts"]
REMEMBERED = 16


class QueryWatch:
    """Finds a query that comes back in a later batch of an epoch.

    It remembers the 16 queries that were seen last, by the last of their rows. A query is
    found if it comes back before 16 others did:

    - surely, where a batch border cuts it, as in batches of consecutive rows;
    - surely, where at most 15 other queries end between its parts;
    - in practice, where the rows of an epoch were shuffled. Each batch is another chance
      that one of the 16 is in it, and one is enough.

    It does not see a single query that is cut in two parts far apart in an epoch that is
    whole otherwise.

    The state is 17 numbers, 136 bytes, that are all zero at the start of an epoch. The
    owner, a metric or a model, makes the variables and resets them.

    Args:
        add_variable: Makes a variable of the owner, as `keras.metrics.Metric.add_variable`.
    """

    def __init__(self, add_variable: Callable[..., keras.Variable]) -> None:
        options = {"dtype": "int64", "aggregation": "only_first_replica"}
        self.last = add_variable((REMEMBERED,), "zeros", name="last_queries", **options)
        self.filled = add_variable((), "zeros", name="num_last_queries", **options)

    def found(self, query_ids: TensorLike, query: tf.Tensor) -> tf.Tensor:
        """Whether a query that is remembered has a row in this batch, a bool scalar.

        Args:
            query_ids: Integer or string ids, one per row of this replica.
            query: Dense query index of each row of all replicas, int32, shape `(rows,)`;
                -1 for a masked row, which is not seen.
        """
        ids, last = _gathered(query_ids), tf.convert_to_tensor(self.last)
        empty = REMEMBERED - tf.convert_to_tensor(self.filled)
        known = tf.range(REMEMBERED, dtype=tf.int64) >= empty
        return tf.reduce_any((query >= 0)[:, None] & known & (ids[:, None] == last))

    def remember(self, query_ids: TensorLike, query: tf.Tensor, num_queries: tf.Tensor) -> None:
        """Takes in the queries of a batch.

        Args:
            query_ids: As for `found`.
            query: As for `found`.
            num_queries: A scalar above every index.
        """
        row = tf.range(tf.size(query))
        last_row = tf.math.unsorted_segment_max(row, query, num_queries)
        ends = (query >= 0) & (row == tf.gather(last_row, tf.maximum(query, 0)))
        # What was remembered, and after it the last row of each query: of these the last 16.
        place = tf.concat([tf.range(REMEMBERED), tf.where(ends, row + REMEMBERED, -1)], axis=0)
        newest = tf.reverse(tf.math.top_k(place, REMEMBERED).values, [0])
        ids = tf.concat([tf.convert_to_tensor(self.last), _gathered(query_ids)], axis=0)
        filled = tf.convert_to_tensor(self.filled) + tf.reduce_sum(tf.cast(ends, tf.int64))
        self.last.assign(tf.gather(ids, newest))
        self.filled.assign(tf.minimum(filled, REMEMBERED))


def refuse_split(again: tf.Tensor) -> list[tf.Operation]:
    """Refuses a batch with a query of an earlier one: at once, or in the graph.

    Returns:
        What the rest of a graph must wait for. Under XLA, which cannot raise, nothing.
    """
    if compat.in_xla():
        return []
    message = (
        "A query must come whole in one batch. Received: rows of one query in two batches. "
        "Make batches with `data.query_batches`, reset the metric between epochs, or set "
        "`split_queries` of the metric to count_parts."
    )
    if not tf.executing_eagerly():
        return [tf.debugging.Assert(~again, [f"{FAILED}{message}"])]
    if bool(again):
        raise ValueError(message)
    return []


def _gathered(query_ids: TensorLike) -> tf.Tensor:
    """The ids of all replicas, int64: two of n strings become one with chance n**2 / 2**64."""
    ids = tf.reshape(tf.convert_to_tensor(query_ids), (-1,))
    is_text = ids.dtype == tf.string
    ids = tf.strings.to_hash_bucket_fast(ids, 2**63 - 1) if is_text else tf.cast(ids, tf.int64)
    return replicas.gather_rows(ids)
