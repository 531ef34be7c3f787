"""Which tokens of a batch count, and by how much: one rule for loss and metrics."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from keras_trainsteps import compat
from keras_trainsteps.queries import checked_weights, widen
from keras_trainsteps.step import running
from keras_trainsteps.validation import as_float, as_integer, as_mask, as_tensor, refuse


class Tokens(NamedTuple):
    """Targets and predictions, checked, with the weight of each token.

    Attributes:
        y_true: Targets, int64 or int32, shape `(B, T)`; 0 where a token does not count.
        y_pred: Logits or probabilities, float32 or float64, shape `(B, T, V)`.
        mask: Whether a token counts, bool, shape `(B, T)`.
        weight: Weight of each token, shape `(B, T)`; 0 where it does not count.
        sequence_weight: Weight of each sequence, shape `(B,)`.
    """

    y_true: tf.Tensor
    y_pred: tf.Tensor
    mask: tf.Tensor
    weight: tf.Tensor
    sequence_weight: tf.Tensor


def tokens(
    y_true: Any, y_pred: Any, *, mask: Any, pad_id: int | None, sample_weight: Any
) -> Tokens:
    """Checks a batch of sequences and finds the tokens that count.

    Args:
        y_true: Integer targets, shape `(B, T)` or `(B, T, 1)`.
        y_pred: Shape `(B, T, V)`.
        mask: Bool, shape `(B, T)`, or `None`.
        pad_id: Targets of this value do not count, or `None`. Combined with `mask` by
            "and". Only with neither is the mask used that Keras put on `y_pred`.
        sample_weight: One weight per token, `(B, T)`, or per sequence, `(B,)` or `(B, 1)`.
    """
    implicit = compat.mask_of(y_pred)
    y_pred = widen(as_tensor("y_pred", y_pred))
    if y_pred.shape.rank != 3:
        raise ValueError(
            "`y_pred` must have one row of classes per token, shape (batch, time, classes). "
            f"Received: shape {tuple(y_pred.shape)}."
        )
    y_true = _targets(y_true, y_pred.shape)
    if mask is None and pad_id is None:
        mask = implicit
    kept = tf.ones_like(y_true, tf.bool) if mask is None else _mask(mask, y_true.shape)
    counted = running.counted_rows(y_true.shape, masked=mask is not None)
    if counted is not None:
        kept &= counted
    if pad_id is not None:
        kept &= y_true != tf.cast(as_integer("pad_id", pad_id), y_true.dtype)
    y_true = tf.where(kept, y_true, tf.zeros_like(y_true))
    classes = y_pred.shape[2]
    last = "the last" if classes is None else str(classes - 1)
    rule = f"`y_true` must hold class numbers from 0 to {last}, the classes of `y_pred`"
    outside = (y_true < 0) | (y_true >= tf.cast(tf.shape(y_pred)[2], y_true.dtype))
    # What is left out is 0 here, which is no class where there are none.
    outside &= kept
    way_out = "Leave other tokens out with `mask` or `pad_id`."
    y_true = refuse(y_true, outside, "class", rule, way_out)
    weight = tf.cast(kept, y_pred.dtype)
    sequence_weight = tf.ones((tf.shape(y_true)[0],), y_pred.dtype)
    if sample_weight is not None:
        given = checked_weights(as_float("sample_weight", sample_weight, y_pred.dtype))
        if _one_a_sequence(given, y_true.shape):
            sequence_weight = tf.reshape(given, (-1,))
            given = sequence_weight[:, None]
        # A weight that is not a number must show only where it counts.
        weight = tf.where(kept, given * tf.ones_like(weight), tf.zeros_like(weight))
    if compat.in_xla():  # what could not be refused must not be hidden
        weight = tf.where(outside, tf.constant(float("nan"), weight.dtype), weight)
    return Tokens(y_true, y_pred, kept, weight, sequence_weight)


def _targets(y_true: Any, predictions: tf.TensorShape) -> tf.Tensor:
    y_true = as_tensor("y_true", y_true)
    if y_true.dtype in (tf.float16, tf.bfloat16) or not (
        y_true.dtype.is_integer or y_true.dtype.is_floating
    ):
        raise TypeError(
            "`y_true` must hold class numbers as integers; float32 and float64, which "
            "Keras makes of targets, hold them exactly up to 2**24 and 2**53. "
            f"Received: dtype {y_true.dtype.name}."
        )
    if y_true.shape.rank == 3 and y_true.shape[2] == 1:
        y_true = tf.squeeze(y_true, 2)
    if y_true.shape.rank != 2 or not y_true.shape.is_compatible_with(predictions[:2]):
        raise ValueError(
            "`y_true` must have one class number per token, shape (batch, time) of `y_pred`. "
            f"Received: shape {tuple(y_true.shape)} for predictions of shape "
            f"{tuple(predictions)}."
        )
    return y_true if y_true.dtype == tf.int32 else tf.cast(y_true, tf.int64)


def _mask(mask: Any, targets: tf.TensorShape) -> tf.Tensor:
    mask = as_mask("mask", mask)
    if mask.shape.rank != 2 or not mask.shape.is_compatible_with(targets):
        raise ValueError(
            "`mask` must have one entry per token, the shape of the targets, "
            f"{tuple(targets)}. Received: shape {tuple(mask.shape)}."
        )
    return mask


def _one_a_sequence(weight: tf.Tensor, targets: tf.TensorShape) -> bool:
    if weight.shape.rank == 2 and weight.shape.is_compatible_with(targets):
        return False
    column = weight.shape.rank == 2 and weight.shape[1] == 1
    if (weight.shape.rank == 1 or column) and targets[:1].is_compatible_with(weight.shape[:1]):
        return True
    raise ValueError(
        "`sample_weight` must have one entry per token, shape (batch, time), or per sequence, "
        f"shape (batch,) or (batch, 1). Received: shape {tuple(weight.shape)} for targets "
        f"of shape {tuple(targets)}."
    )
