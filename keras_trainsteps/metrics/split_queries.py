"""Finding queries that are split over two batches, with a state of fixed size."""

from __future__ import annotations

from typing import Any, Literal

import keras
import tensorflow as tf

from keras_trainsteps import compat, replicas
from keras_trainsteps.step.terms import FAILED

SplitQueries = Literal["error", "count_parts"]
SLOTS = 2**14


class QueryWatch:
    """Refuses a query that comes back in a later batch of an epoch.

    Remembering every query of an epoch would take a state without bound. Remembered are
    the query of the last row of the batch before, which finds what a batch border cuts,
    and for each of `SLOTS` slots, into which ids are hashed, the last query that fell
    there. With `n` other queries in between, the second part of a query is found with a
    probability of `exp(-n / SLOTS)`: of an epoch whose rows were shuffled, which splits
    most queries, nearly all; of a single query split over far distant batches, not
    surely.

    Args:
        metric: The metric whose state this is: all zeros when it is reset.
    """

    def __init__(self, metric: keras.metrics.Metric) -> None:
        options = {"dtype": "int64", "aggregation": "only_first_replica"}
        # The last slot takes the rows that are masked.
        self.seen = metric.add_variable((SLOTS + 1,), "zeros", name="seen", **options)
        self.last = metric.add_variable((), "zeros", name="last", **options)

    def found(self, query_ids: Any, query: tf.Tensor) -> tf.Tensor:
        """Whether a query of an earlier batch is in this one, whose queries are remembered.

        Where it can raise, it refuses such a batch; under XLA it cannot.

        Args:
            query_ids: The ids of this replica's rows.
            query: Dense query index of each row of all replicas; -1 for a masked row, which
                is not seen.
        """
        keys, valid = replicas.gather_rows(_keys(query_ids)), query >= 0
        slots = tf.bitwise.bitwise_and(keys, tf.constant(SLOTS - 1, tf.int64))
        slots = tf.where(valid, slots, tf.constant(SLOTS, tf.int64))
        seen, last = tf.convert_to_tensor(self.seen), tf.convert_to_tensor(self.last)
        again = tf.reduce_any(valid & ((tf.gather(seen, slots) == keys) | (keys == last)))
        with tf.control_dependencies(_refuse(again)):
            self.seen.assign(tf.tensor_scatter_nd_update(seen, slots[:, None], keys))
            keys = tf.concat([last[None], keys], axis=0)
            row = tf.where(valid, tf.range(1, tf.size(keys)), 0)
            self.last.assign(keys[tf.reduce_max(tf.concat([[0], row], axis=0))])
            return tf.identity(again)


def _keys(query_ids: Any) -> tf.Tensor:
    """Scrambled ids, none of them 0.

    Integers stay distinct; two of n strings share a key with probability n**2 / 2**64.
    """
    ids = tf.reshape(tf.convert_to_tensor(query_ids), (-1,))
    if ids.dtype == tf.string:
        return tf.strings.to_hash_bucket_fast(ids, 2**63 - 1) + 1
    # The finalizer of splitmix64, a bijection: neighbouring ids fall into distant slots.
    bits = tf.bitcast(tf.cast(ids, tf.int64), tf.uint64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        shifted = tf.bitwise.right_shift(bits, tf.constant(shift, tf.uint64))
        bits = tf.bitwise.bitwise_xor(bits, shifted) * tf.constant(factor, tf.uint64)
    shifted = tf.bitwise.right_shift(bits, tf.constant(31, tf.uint64))
    keys = tf.bitcast(tf.bitwise.bitwise_xor(bits, shifted), tf.int64)
    return tf.where(keys == 0, tf.ones_like(keys), keys)


def _refuse(again: tf.Tensor) -> list[tf.Operation]:
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
