"""What targets of tokens must be: classes that are there, or distributions over them."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from keras_trainsteps.validation import as_integer, refuse

_SUM = 1e-2  # of distributions, off 1: what narrow floats lose


def checked_classes(
    y_true: tf.Tensor, kept: tf.Tensor, y_pred: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Classes, 0 where none counts, and which tokens have none of those of `y_pred`."""
    y_true = tf.where(kept, y_true, tf.zeros_like(y_true))
    classes = y_pred.shape[-1]
    last = "the last" if classes is None else str(classes - 1)
    rule = f"`y_true` must hold class numbers from 0 to {last}, the classes of `y_pred`"
    outside = (y_true < 0) | (y_true >= tf.cast(tf.shape(y_pred)[-1], y_true.dtype))
    # What is left out is 0 here, which is no class where there are none.
    outside &= kept
    way_out = "Leave other tokens out with `mask` or `pad_id`."
    return refuse(y_true, outside, "class", rule, way_out), outside


def checked_distributions(
    y_true: tf.Tensor, kept: tf.Tensor, y_pred: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Distributions, 0 where none counts, and which tokens have none over those of `y_pred`."""
    if not y_true.shape.is_compatible_with(y_pred.shape):
        raise ValueError(
            "`y_true` must have the shape of `y_pred` where it holds distributions, one "
            "probability a class, and else one class number per token. Received: shape "
            f"{tuple(y_true.shape)} for predictions of shape {tuple(y_pred.shape)}."
        )
    y_true = tf.where(kept[..., None], y_true, tf.zeros_like(y_true))
    rule = "`y_true` must hold probabilities where it has the shape of `y_pred`, none below 0"
    way_out = "Leave other tokens out with `mask`."
    broken = ~(y_true >= 0)
    y_true = refuse(y_true, broken, "probability", rule, way_out)
    sums = tf.reduce_sum(y_true, -1)
    off = kept & ~(tf.abs(sums - 1) <= _SUM)
    rule = "`y_true` must hold probabilities that sum up to 1 where it has the shape of `y_pred`"
    way_out = "Divide them by their sum, or leave tokens out with `mask`."
    with tf.control_dependencies([refuse(sums, off, "sum", rule, way_out)]):
        return tf.identity(y_true), tf.reduce_any(broken, -1) | off


def as_class(value: Any, predictions: tf.Tensor) -> int | tf.Tensor:
    """A class that smoothing spares, of at least two."""
    spared, classes = as_integer("smoothing_spares", value), tf.shape(predictions)[-1]
    rule = "`smoothing_spares` must be a class of `y_pred`, which has another beside it"
    way_out = "Classes are counted from 0."
    if spared < 0:
        raise ValueError(f"{rule}. Received: {spared}. {way_out}")
    known = predictions.shape[-1]
    if known is None:
        wrong = (spared >= classes) | (classes < 2)
        checked = refuse(classes, wrong, "number of classes", rule, way_out)
        with tf.control_dependencies([checked]):
            return tf.identity(spared)
    if spared >= known or known < 2:
        raise ValueError(f"{rule}. Received: {spared} for {known} classes. {way_out}")
    return spared
