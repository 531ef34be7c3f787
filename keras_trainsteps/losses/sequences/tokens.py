"""Which tokens of a batch count, and by how much: one rule for loss and metrics."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from keras_trainsteps import compat
from keras_trainsteps.losses.sequences.targets import checked_classes, checked_distributions
from keras_trainsteps.queries import checked_weights, widen
from keras_trainsteps.step import running
from keras_trainsteps.validation import as_float, as_integer, as_mask, as_tensor


class Tokens(NamedTuple):
    """Targets and predictions, checked, with the weight of each token.

    A row of a batch has one token, `(B,)`, a sequence of them, `(B, T)`, or an image of them,
    `(B, H, W)`.

    Attributes:
        y_true: Classes, int64 or int32, one a token; 0 where a token does not count. Or
            distributions over them, of the shape and dtype of `y_pred`; 0 where none counts.
        y_pred: Logits or probabilities, float32 or float64, one row of `V` classes a token.
        mask: Whether a token counts, bool.
        weight: Weight of each token; 0 where it does not count.
        sequence_weight: Weight of each row of the batch, shape `(B,)`.
    """

    y_true: tf.Tensor
    y_pred: tf.Tensor
    mask: tf.Tensor
    weight: tf.Tensor
    sequence_weight: tf.Tensor

    @property
    def have_distributions(self) -> bool:
        """Whether targets are distributions over the classes."""
        return self.y_true.shape.rank == self.y_pred.shape.rank

    @property
    def of_sequence(self) -> list[int]:
        """The axes of the tokens of a row of the batch."""
        return list(range(1, self.mask.shape.rank))


def tokens(
    y_true: Any,
    y_pred: Any,
    *,
    mask: Any,
    pad_id: int | None,
    sample_weight: Any,
    distributions: bool = False,
) -> Tokens:
    """Checks a batch of sequences and finds the tokens that count.

    Args:
        y_true: Integer targets, shape `(B,)`, `(B, T)` or `(B, H, W)`, or with a last axis of 1.
        y_pred: The same shape, and `V`.
        mask: Bool, one entry a token, or `None`.
        pad_id: Targets of this value do not count, or `None`. Combined with `mask` by
            "and". Only with neither is the mask used that Keras put on `y_pred`.
        sample_weight: One weight a token, or a row of the batch, `(B,)` or `(B, 1)`.
        distributions: Whether targets of the shape of `y_pred` are distributions.
    """
    implicit = compat.mask_of(y_pred)
    y_pred = widen(as_tensor("y_pred", y_pred))
    if y_pred.shape.rank is None or y_pred.shape.rank < 2:
        raise ValueError(
            "`y_pred` must have one row of classes per token, shape (batch, time, classes), or "
            f"(batch, classes) for one a row. Received: shape {tuple(y_pred.shape)}."
        )
    y_true = as_tensor("y_true", y_true)
    soft = distributions and _are_distributions(y_true.shape, y_pred.shape)
    if soft and pad_id is not None:
        raise ValueError(
            "`pad_id` must be None where targets are distributions, which are no class. "
            f"Received: {pad_id!r}. Leave tokens out with `mask`."
        )
    y_true = tf.cast(y_true, y_pred.dtype) if soft else _classes(y_true, y_pred.shape)
    shape = y_true.shape[:-1] if soft else y_true.shape
    if mask is None and pad_id is None:
        mask = implicit
    ones = tf.ones_like(y_true[..., 0] if soft else y_true, tf.bool)
    kept = ones if mask is None else _mask(mask, shape)
    counted = running.counted_rows(shape, masked=mask is not None)
    if counted is not None:
        kept &= counted
    if pad_id is not None:
        kept &= y_true != tf.cast(as_integer("pad_id", pad_id), y_true.dtype)
    check = checked_distributions if soft else checked_classes
    y_true, broken = check(y_true, kept, y_pred)
    weight = tf.cast(kept, y_pred.dtype)
    sequence_weight = tf.ones((tf.shape(y_true)[0],), y_pred.dtype)
    if sample_weight is not None:
        given = checked_weights(as_float("sample_weight", sample_weight, y_pred.dtype))
        if _one_a_sequence(given, shape):
            sequence_weight = tf.reshape(given, (-1,))
            given = tf.reshape(sequence_weight, (-1, *[1] * (shape.rank - 1)))
        # A weight that is not a number must show only where it counts.
        weight = tf.where(kept, given * tf.ones_like(weight), tf.zeros_like(weight))
    if compat.in_xla():  # what could not be refused must not be hidden
        weight = tf.where(broken, tf.constant(float("nan"), weight.dtype), weight)
    return Tokens(y_true, y_pred, kept, weight, sequence_weight)


def _are_distributions(targets: tf.TensorShape, predictions: tf.TensorShape) -> bool:
    """Whether targets have the shape of predictions; a column of one class each is no such."""
    return targets.rank == predictions.rank and targets[-1] not in (None, 1)


def _classes(y_true: tf.Tensor, predictions: tf.TensorShape) -> tf.Tensor:
    if y_true.dtype in (tf.float16, tf.bfloat16) or not (
        y_true.dtype.is_integer or y_true.dtype.is_floating
    ):
        raise TypeError(
            "`y_true` must hold class numbers as integers; float32 and float64, which "
            "Keras makes of targets, hold them exactly up to 2**24 and 2**53. "
            f"Received: dtype {y_true.dtype.name}."
        )
    rank = predictions.rank - 1
    if y_true.shape.rank == rank + 1 and y_true.shape[-1] == 1:
        y_true = tf.squeeze(y_true, -1)
    if y_true.shape.rank != rank or not y_true.shape.is_compatible_with(predictions[:-1]):
        raise ValueError(
            "`y_true` must have one class number per token, shape (batch, time) of `y_pred`. "
            f"Received: shape {tuple(y_true.shape)} for predictions of shape "
            f"{tuple(predictions)}."
        )
    return y_true if y_true.dtype == tf.int32 else tf.cast(y_true, tf.int64)


def _mask(mask: Any, targets: tf.TensorShape) -> tf.Tensor:
    mask = as_mask("mask", mask)
    if mask.shape.rank != targets.rank or not mask.shape.is_compatible_with(targets):
        raise ValueError(
            "`mask` must have one entry per token, the shape of the targets, "
            f"{tuple(targets)}. Received: shape {tuple(mask.shape)}."
        )
    return mask


def _one_a_sequence(weight: tf.Tensor, targets: tf.TensorShape) -> bool:
    of_tokens = weight.shape.rank == targets.rank and weight.shape.is_compatible_with(targets)
    if of_tokens and targets.rank > 1:
        return False
    column = weight.shape.rank == 2 and weight.shape[1] == 1
    if (weight.shape.rank == 1 or column) and targets[:1].is_compatible_with(weight.shape[:1]):
        return True
    raise ValueError(
        "`sample_weight` must have one entry per token, shape (batch, time), or per sequence, "
        f"shape (batch,) or (batch, 1). Received: shape {tuple(weight.shape)} for targets "
        f"of shape {tuple(targets)}."
    )
