"""Scores in a dtype to compute with, and weights that can be added up."""

from __future__ import annotations

import tensorflow as tf

from keras_trainsteps.validation import refuse


def widen(value: tf.Tensor) -> tf.Tensor:
    """Floats narrower than float32, and integers, as float32; float64 as it is."""
    if value.dtype in (tf.float32, tf.float64):
        return value
    return tf.cast(value, tf.float32)


def checked_weights(weight: tf.Tensor, name: str = "sample_weight") -> tf.Tensor:
    """Weights, refused where they are negative, not numbers, or beyond all measure."""
    rule = f"`{name}` must be numbers that are not negative: 0, or from 1e-100 to 1e100"
    way_out = "To leave a row out, give it a weight of 0."
    in_range = (weight == 0) | ((weight > 1e-100) & (weight < float("inf")))
    if weight.dtype == tf.float64:
        in_range &= weight < 1e100
    return refuse(weight, ~in_range, "weight", rule, way_out)
