"""Scores and labels that are not numbers: one rule for every path.

A score that is NaN or infinite makes the total of its query, and the gradient of all the
query's rows, NaN, also where it is in no pair or all weights are 0: the network's gradient is
NaN all the same. A label that is NaN could form a pair with
any row: it does so if its query has another row. Counts are those of the pairs of
labels that are numbers, other queries are untouched, and a label may be infinite.

What sums pairs never sees such rows: a score is replaced by 0, a row without a label is
in no query while pairs are summed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from keras_trainsteps import compat

from .reduce import count_by_group, of_rows

Pair = tuple[tf.Tensor, tf.Tensor]


class Invalid(NamedTuple):
    """Which rows are not numbers.

    Attributes:
        label: Rows whose label is NaN, bool `(rows,)`.
        score: Rows whose score is NaN or infinite.
    """

    label: tf.Tensor
    score: tf.Tensor

    def leave_out(self, query: tf.Tensor, scores: tf.Tensor) -> Pair:
        """The queries and scores to be summed."""

        def left_out() -> Pair:
            none, zero = tf.fill(tf.shape(query), -1), tf.zeros_like(scores)
            return tf.where(self.label, none, query), tf.where(self.score, zero, scores)

        return self._if_any(left_out, (query, scores))

    def spoil(self, totals: tf.Tensor, slope: tf.Tensor, query: tf.Tensor) -> Pair:
        """Totals and slopes with NaN for the queries of these rows."""

        def spoilt() -> Pair:
            number = tf.size(totals)
            labels, scores = (
                count_by_group(tf.where(rows, query, -1), number) > 0 for rows in self
            )
            several = count_by_group(query, number) > 1
            spoils = (labels & several) | scores
            nan = tf.constant(float("nan"), totals.dtype)
            of_query = of_rows(spoils, query, False)
            return tf.where(spoils, nan, totals), tf.where(of_query, nan, slope)

        return self._if_any(spoilt, (totals, slope))

    def _if_any(self, mended: Callable[[], Pair], otherwise: Pair) -> Pair:
        if compat.in_xla():  # costs less there than a branch
            return mended()
        some = tf.reduce_any(self.label) | tf.reduce_any(self.score)
        return tf.cond(some, mended, lambda: otherwise)
