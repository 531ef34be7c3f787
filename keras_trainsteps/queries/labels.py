"""Labels as they are compared: exact, refused where they are none, and their gains finite."""

from __future__ import annotations

import math

import tensorflow as tf

from keras_trainsteps.validation import refuse

LOG_2 = math.log(2.0)
HIGHEST = 900  # a label whose gains can be summed over any batch
EXACT = 2**53  # up to here float64 holds every whole number


def checked_labels(
    labels: tf.Tensor, counted: tf.Tensor | None, *, gains: bool, limit: float | None = None
) -> tf.Tensor:
    """Labels, 0 in rows that do not count, refused where they are NaN, or no gains.

    Args:
        labels: The labels.
        counted: Whether a row counts, bool, shape `(rows,)`; `None` where all do.
        gains: Whether labels are gains, neither negative nor infinite.
        limit: The highest label of which the gain `2**y - 1` can be computed with.
    """
    if counted is not None:
        labels = tf.where(counted, labels, tf.zeros_like(labels))
    if not gains:
        rule = "`y_true` must hold numbers in every row that is not masked"
        unknown = tf.math.is_nan(labels)
        return refuse(labels, unknown, "label", rule, "Leave unlabelled rows out with `mask`.")
    rule = (
        "`y_true` must not be negative or NaN in a row that counts, nor infinite: labels are "
        "gains here"
    )
    way_out = "Mark padding with `mask`, not with a label of -1."
    broken = ~((labels >= 0) & (labels < float("inf")))
    labels = refuse(labels, broken, "label", rule, way_out)
    if limit is not None:
        rule = f"`y_true` must be at most {limit:g}: a gain of `2**y - 1` beyond has no number"
        way_out = "Scale the labels down, or pass float64 scores, which allow up to 896."
        labels = refuse(labels, labels > limit, "label", rule, way_out)
    return labels


def gain_limit(dtype: tf.DType) -> float:
    """The highest label whose gains `2**y - 1` can be summed over any batch in `dtype`."""
    return 896.0 if dtype == tf.float64 else 96.0


def gain_shift(labels: tf.Tensor, query: tf.Tensor, num_queries: tf.Tensor) -> tf.Tensor:
    """For each row a whole number by which its query's labels are lowered; float64.

    For what depends on the ratios of a query's gains alone: `2**(y - shift) - 2**-shift` is
    never infinite. It is 0 for labels up to 900, to which nothing happens.
    """
    highest = tf.math.unsorted_segment_max(labels, query, num_queries)
    shift = tf.math.ceil(tf.maximum(highest - HIGHEST, 0))
    return tf.gather(shift, tf.maximum(query, 0))


def exponential(labels: tf.Tensor) -> tf.Tensor:
    """`2**y - 1`, of float32 or float64."""
    # Nine times as fast as `2.0**y` (TensorFlow 2.21), and exact near 0.
    return tf.math.expm1(labels * tf.constant(LOG_2, labels.dtype))


def relative_gains(labels: tf.Tensor, query: tf.Tensor, num_queries: tf.Tensor) -> tf.Tensor:
    """`2**y - 1` up to a factor of each query, which keeps those of large labels finite."""

    def lowered() -> tf.Tensor:
        shift = gain_shift(labels, query, num_queries)
        return 2.0 ** (labels - shift) - 2.0**-shift

    return tf.cond(tf.reduce_any(labels > HIGHEST), lowered, lambda: exponential(labels))


def exact_labels(labels: tf.Tensor, mask: tf.Tensor | None) -> tf.Tensor:
    """Labels in float64; whole numbers that it does not hold are refused."""
    exact = tf.cast(labels, tf.float64)
    if labels.dtype not in (tf.int64, tf.uint64):
        return exact
    limit = tf.constant(EXACT, labels.dtype)
    broken = labels > limit
    if labels.dtype == tf.int64:
        broken |= labels < -limit
    if mask is not None:
        broken &= mask
    rule = "`y_true` must be within 2**53 of 0, where float64 holds every whole number"
    way_out = "Subtract the smallest label, or divide: seconds for nanoseconds."
    return refuse(exact, broken, "label", rule, way_out)


def without_padding(labels: tf.Tensor) -> tf.Tensor:
    """Labels of padded lists without a mask, refused where they are negative."""
    rule = (
        "`y_true` must not be negative in padded lists without a `mask`: -1 is a common mark "
        "of padding"
    )
    way_out = (
        "Pass `mask=y >= 0` to leave padding out; if labels are negative, a mask of ones. A "
        "model reads it from the entry of `x` that its loss or metric names."
    )
    return refuse(labels, labels < 0, "label", rule, way_out)
