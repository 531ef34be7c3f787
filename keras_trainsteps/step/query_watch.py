"""Finding queries that are cut over two batches, with a state of a few bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import keras
import tensorflow as tf

from keras_trainsteps import compat
from keras_trainsteps.step.running import QueryRows

REMEMBERED = 16

# Odd numbers of 64 bits, as signed ones: what is multiplied by them stays distinct.
_MIX = (-0x61C8864680B583EB, -0x40A7B892E31B1A47)


class Seen(NamedTuple):
    """The queries of a batch, in the order of their first rows.

    Attributes:
        keys: A number for each query, never 0; int64.
        labels: A number for the labels of each query, whatever their order; `None` where
            data do not begin again.
        present: Whether a key is that of a query, bool; `None` where all are.
        known: The keys that were remembered.
        again: Whether the batch holds a query that is remembered, a bool scalar.
    """

    keys: tf.Tensor
    labels: tf.Tensor | None
    present: tf.Tensor | None
    known: tf.Tensor
    again: tf.Tensor


class QueryWatch:
    """Finds a query that comes back in a later batch of an epoch.

    It remembers the 16 queries that began last. A query is found if it comes back before 16
    others have begun:

    - surely, where a batch border cuts it, as in batches of consecutive rows;
    - surely, where at most 15 other queries begin between its parts;
    - in practice, where the rows of an epoch were shuffled. Each batch is another chance
      that one of the 16 is in it, and one is enough.

    It does not see a single query that is cut in two parts far apart in an epoch that is
    whole otherwise.

    Where data begin again within an epoch (`begin_again`), whole queries come back too. There
    a query is found only if its rows have other labels than when it was seen last, as the
    parts of a cut one have.

    The state is 32 numbers, 256 bytes, that are all zero at the start of an epoch. The
    owner, a metric or the log of a model, makes the variables and resets them.

    Args:
        add_variable: Makes a variable of the owner, as `keras.metrics.Metric.add_variable`.
    """

    def __init__(self, add_variable: Callable[..., keras.Variable]) -> None:
        options = {"dtype": "int64", "aggregation": "only_first_replica"}
        self.last = add_variable((REMEMBERED,), "zeros", name="last_queries", **options)
        self.labels = add_variable((REMEMBERED,), "zeros", name="last_labels", **options)

    def look(self, rows: QueryRows, *, begin_again: bool = False) -> Seen:
        """The queries of a batch, and which of them are remembered.

        Args:
            rows: The rows of the batch, of all replicas.
            begin_again: Whether data may begin again within an epoch.
        """
        keys = tf.bitwise.bitwise_xor(rows.ids, _MIX[0])  # what is remembered at first is 0
        labels = _labels(rows) if begin_again else None
        present = None
        if rows.masked or compat.in_xla():  # there may be indices without a row
            ones = tf.ones_like(rows.query)
            present = tf.math.unsorted_segment_sum(ones, rows.query, rows.num_queries) > 0
            if not compat.in_xla():
                keys = tf.boolean_mask(keys, present)
                labels = None if labels is None else tf.boolean_mask(labels, present)
                present = None
        known = tf.convert_to_tensor(self.last)
        back = tf.expand_dims(keys, 1) == known
        if labels is not None:
            back &= tf.expand_dims(labels, 1) != tf.convert_to_tensor(self.labels)
        if present is not None:
            back &= tf.expand_dims(present, 1)
        return Seen(keys, labels, present, known, tf.reduce_any(back))

    def remember(self, seen: Seen) -> None:
        """Takes in the queries of a batch."""
        newest = None
        if seen.present is not None:
            place = tf.where(seen.present, tf.range(tf.size(seen.keys)) + REMEMBERED, -1)
            place = tf.concat([tf.range(REMEMBERED), place], axis=0)
            newest = tf.reverse(tf.math.top_k(place, REMEMBERED).values, [0])

        def last_of(known: tf.Tensor, new: tf.Tensor) -> tf.Tensor:
            every = tf.concat([known, new], axis=0)
            return every[-REMEMBERED:] if newest is None else tf.gather(every, newest)

        self.last.assign(last_of(seen.known, seen.keys))
        if seen.labels is not None:
            known = tf.convert_to_tensor(self.labels)
            self.labels.assign(last_of(known, seen.labels))


def _labels(rows: QueryRows) -> tf.Tensor:
    """For each query a number for its labels, whatever their order; int64."""
    bits = tf.bitcast(tf.cast(rows.labels, tf.float64), tf.int64) + _MIX[0]
    bits = tf.bitwise.bitwise_xor(bits * _MIX[0], tf.bitwise.right_shift(bits, 29)) * _MIX[1]
    return tf.math.unsorted_segment_sum(bits, rows.query, rows.num_queries)
