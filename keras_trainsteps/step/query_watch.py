"""Finding queries that are cut over two batches, with a state of a few bytes."""

from __future__ import annotations

from collections.abc import Callable

import keras
import tensorflow as tf

from keras_trainsteps.step.running import QueryRows

REMEMBERED = 16

# Odd numbers of 64 bits, as signed ones: what is multiplied by them stays distinct.
_MIX = (-0x61C8864680B583EB, -0x40A7B892E31B1A47)


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

    Where data begin again within an epoch (`begin_again`), whole queries come back too. There
    a query is found only if its rows have other labels than when it was seen last, as the
    parts of a cut one have.

    The state is 33 numbers, 264 bytes, that are all zero at the start of an epoch. The
    owner, a metric or the log of a model, makes the variables and resets them.

    Args:
        add_variable: Makes a variable of the owner, as `keras.metrics.Metric.add_variable`.
    """

    def __init__(self, add_variable: Callable[..., keras.Variable]) -> None:
        options = {"dtype": "int64", "aggregation": "only_first_replica"}
        self.last = add_variable((REMEMBERED,), "zeros", name="last_queries", **options)
        self.labels = add_variable((REMEMBERED,), "zeros", name="last_labels", **options)
        self.filled = add_variable((), "zeros", name="num_last_queries", **options)

    def found(self, rows: QueryRows, *, begin_again: bool = False) -> tf.Tensor:
        """Which of the remembered queries have a row in this batch; bool, shape `(16,)`.

        Args:
            rows: The rows of the batch, of all replicas.
            begin_again: Whether data may begin again within an epoch.
        """
        empty = REMEMBERED - tf.convert_to_tensor(self.filled)
        known = tf.range(REMEMBERED, dtype=tf.int64) >= empty
        back = (rows.query >= 0)[:, None] & (rows.ids[:, None] == tf.convert_to_tensor(self.last))
        if begin_again:
            back &= _labels(rows)[:, None] != tf.convert_to_tensor(self.labels)
        return known & tf.reduce_any(back, axis=0)

    def remember(self, rows: QueryRows, found: tf.Tensor, *, begin_again: bool = False) -> None:
        """Takes in the queries of a batch.

        Args:
            rows: As for `found`.
            found: What `found` gave for them.
            begin_again: As for `found`.
        """
        row = tf.range(tf.size(rows.query))
        last_row = tf.math.unsorted_segment_max(row, rows.query, rows.num_queries)
        ends = (rows.query >= 0) & (row == tf.gather(last_row, tf.maximum(rows.query, 0)))
        # What was remembered, and after it the last row of each query: of these the last 16.
        kept = tf.where(found, -1, tf.range(REMEMBERED))
        place = tf.concat([kept, tf.where(ends, row + REMEMBERED, -1)], axis=0)
        newest = tf.maximum(tf.reverse(tf.math.top_k(place, REMEMBERED).values, [0]), 0)
        filled = tf.convert_to_tensor(self.filled) - _count(found) + _count(ends)
        ids = tf.concat([tf.convert_to_tensor(self.last), rows.ids], axis=0)
        self.last.assign(tf.gather(ids, newest))
        if begin_again:
            labels = tf.concat([tf.convert_to_tensor(self.labels), _labels(rows)], axis=0)
            self.labels.assign(tf.gather(labels, newest))
        self.filled.assign(tf.minimum(filled, REMEMBERED))


def _count(condition: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.cast(condition, tf.int64))


def _labels(rows: QueryRows) -> tf.Tensor:
    """For each row a number for the labels of its query, whatever their order; int64."""
    bits = tf.bitcast(tf.cast(rows.labels, tf.float64), tf.int64) + _MIX[0]
    bits = tf.bitwise.bitwise_xor(bits * _MIX[0], tf.bitwise.right_shift(bits, 29)) * _MIX[1]
    sums = tf.math.unsorted_segment_sum(bits, rows.query, rows.num_queries)
    return tf.gather(sums, tf.maximum(rows.query, 0))
