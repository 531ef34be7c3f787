"""Queries that weigh what their relevant rows do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import keras
import tensorflow as tf

from keras_trainsteps.pairs.reduce import sum_by_group
from keras_trainsteps.queries import RankingRows

Weigh = Literal["mean", "relevant"]


class RelevantWeights:
    """The weights of queries by their relevant rows, as TF-Ranking and Keras-RS weigh lists.

    A query weighs `sum w * g / sum g`, of the weights `w` of its rows and of what they are worth,
    `g`. One without a relevant row weighs as the others on average, over the epoch and not the
    batch; one whose rows all weigh 0 does not count.

    Args:
        add_variable: The metric's. The variable is all zero at the start of an epoch.
    """

    def __init__(self, add_variable: Callable[..., keras.Variable]) -> None:
        # Queries with a relevant row; those without, and the sum of their values.
        self._state = add_variable((3,), "zeros", dtype="float64", name="relevant_weights")

    def weigh(
        self, rows: RankingRows, worth: tf.Tensor, values: tf.Tensor, counts: tf.Tensor
    ) -> tf.Tensor:
        """What queries with a relevant row weigh; takes in the others.

        Args:
            rows: The rows, with weights.
            worth: What each row is worth, float64, shape `(rows,)`.
            values: The value of each query.
            counts: Whether it counts, and on this replica.
        """
        weight = tf.cast(rows.weight, tf.float64)
        total, weighed, relevant = (
            sum_by_group(each, rows.query, rows.num_queries)
            for each in (weight, weight * worth, worth)
        )
        counts = tf.where(total > 0, counts, tf.zeros_like(counts))
        none = tf.zeros_like(counts)
        of_relevant = tf.where(relevant > 0, counts, none)
        others = tf.where(relevant > 0, none, counts)
        lost = tf.where(others > 0, values * others, none)
        self._state.assign_add(tf.stack([tf.reduce_sum(x) for x in (of_relevant, others, lost)]))
        return of_relevant * tf.math.divide_no_nan(weighed, relevant)

    def mean(self, total: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
        """The mean of all queries, of the total and the weight of those with a relevant row."""
        relevant, others, lost = tf.unstack(tf.convert_to_tensor(self._state))
        average = tf.where(relevant > 0, tf.math.divide_no_nan(count, relevant), 1.0)
        return tf.math.divide_no_nan(total + average * lost, count + average * others)
