"""From the totals and counts of queries to one term."""

from __future__ import annotations

import tensorflow as tf

from keras_trainsteps.step.terms import LossTerm


def owned_term(
    totals: tf.Tensor,
    counts: tf.Tensor,
    owned: tf.Tensor | None,
    dtype: tf.DType,
    *,
    weighted: bool = False,
) -> LossTerm:
    """One term of `dtype` out of per-query totals and counts in float64.

    Under several replicas the value is the sum over this replica's own queries, while
    the gradient is that of all queries: each replica sees it for its own rows.

    Args:
        totals: The total of each query.
        counts: The count of each query.
        owned: As in `RankingRows`.
        dtype: The dtype of the term.
        weighted: Whether counts are sums of weights, which may be of any size: where
            float32 could not hold these, total and count are multiplied by one power of 2.
    """
    if weighted:
        scale = count_scale(tf.reduce_sum(counts))
        totals, counts = totals * scale, counts * scale
    if owned is not None:
        totals = tf.where(owned, totals, totals - tf.stop_gradient(totals))
        counts = tf.where(owned, counts, tf.zeros_like(counts))
    total, count = tf.reduce_sum(totals), tf.reduce_sum(counts)
    return LossTerm(tf.cast(total, dtype), tf.cast(count, dtype))


def count_scale(count: tf.Tensor) -> tf.Tensor:
    """1 for a count from 2**-80 to 2**80 (1e-24 to 1e24), else what brings it there.

    Powers of 2**160, so that all batches whose weights are alike are multiplied by the same.
    """
    steps = tf.round(tf.math.log(count) / (160 * tf.math.log(tf.constant(2.0, count.dtype))))
    steps = tf.where(tf.math.is_finite(steps), steps, tf.zeros_like(steps))
    return tf.constant(2.0**-160, count.dtype) ** steps
