"""The embeddings of a batch with their labels: checks, pairs, the term of the anchors."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from keras_trainsteps import compat, replicas
from keras_trainsteps.queries import checked_weights, count_scale, widen
from keras_trainsteps.step import running
from keras_trainsteps.step.terms import LossTerm
from keras_trainsteps.validation import as_float, as_mask, as_tensor, is_number, refuse


class Embeddings(NamedTuple):
    """The embeddings of all replicas' rows; each row is an anchor of its own replica.

    Attributes:
        values: Embeddings, float32 or float64, shape `(rows, dimensions)`; 0 if masked.
        labels: What rows are compared by, shape `(rows,)`.
        valid: Whether a row is not masked, bool, shape `(rows,)`.
        weight: Weight of each anchor, float64, shape `(rows,)`.
        owned: The anchors that this replica counts, or `None`.
    """

    values: tf.Tensor
    labels: tf.Tensor
    valid: tf.Tensor
    weight: tf.Tensor
    owned: tf.Tensor | None

    def own_rows(self, value: Any) -> tf.Tensor:
        """A number, or one per row of this replica, as one per row of all replicas; float64.

        A trainable number reaches the loss through its replica's own rows only, so that
        the replicas' gradients add up to that of one device.
        """
        own = tf.shape(self.labels)[0]
        if self.owned is not None:
            own = tf.reduce_sum(tf.cast(self.owned, tf.int32))
        value = tf.cast(tf.convert_to_tensor(value), tf.float64)
        return replicas.gather_rows(tf.broadcast_to(value, (own,)))

    def tempered(self, values: tf.Tensor, temperature: Any) -> tf.Tensor:
        """Values of anchors, shape `(rows, ...)`, divided by a number, which may be trained."""
        if is_number(temperature):
            return values / float(temperature)
        return values / tf.cast(self.own_rows(temperature), values.dtype)[:, None]

    def term(self, total: tf.Tensor, counts: tf.Tensor) -> LossTerm:
        """The term of the total of this replica's anchors and of one count per anchor."""
        # A minimum, a maximum or a hinge may pass over a NaN; the loss must not.
        finite = tf.reduce_all(tf.math.is_finite(self.values))
        total *= tf.cast(tf.where(finite, 1.0, float("nan")), tf.float64)
        counts = tf.cast(counts, tf.float64) * self.weight
        scale = count_scale(tf.reduce_sum(counts))
        if self.owned is not None:
            counts = tf.where(self.owned, counts, tf.zeros_like(counts))
        count, dtype = tf.reduce_sum(counts) * scale, self.values.dtype
        return LossTerm(tf.cast(total * scale, dtype), tf.cast(count, dtype))


def embeddings(labels: Any, values: Any, *, mask: Any, sample_weight: Any) -> Embeddings:
    """Checks a batch of labelled embeddings and gathers those of all replicas.

    Args:
        labels: Integers, strings or floats, shape `(rows,)` or `(rows, 1)`.
        values: Embeddings, shape `(rows, dimensions)`.
        mask: Bool, one per row, or `None`.
        sample_weight: One weight per anchor, or `None`.
    """
    values = matrix("y_pred", values)
    labels = as_rows("y_true", as_labels("y_true", labels), values)
    valid, weight = mask_and_weight(values, mask, sample_weight)
    labels = tf.where(valid, labels, tf.zeros_like(labels))
    if labels.dtype.is_floating:
        rule = "`y_true` must hold labels in every row that is not masked"
        unknown = tf.math.is_nan(labels)
        labels = refuse(labels, unknown, "label", rule, "Leave unlabelled rows out with `mask`.")
        nan = tf.constant(float("nan"), values.dtype)
        values = tf.where(unknown[:, None], nan, values)
    return gather_embeddings(values, labels, valid, weight)


def gather_embeddings(
    values: tf.Tensor, labels: tf.Tensor, valid: tf.Tensor, weight: tf.Tensor
) -> Embeddings:
    """The rows of all replicas."""
    values = tf.where(valid[:, None], values, tf.zeros_like(values))
    own = tf.shape(values)[0]
    values, labels, valid, weight = (
        replicas.gather_rows(value) for value in (values, labels, valid, weight)
    )
    owned = None
    if replicas.num_replicas() > 1:
        first, row = replicas.first_own_row(own), tf.range(tf.shape(values)[0])
        owned = (row >= first) & (row < first + own)
    return Embeddings(values, labels, valid, weight, owned)


def mask_and_weight(
    values: tf.Tensor, mask: Any, sample_weight: Any
) -> tuple[tf.Tensor, tf.Tensor]:
    """Whether each row counts and its weight, float64, 0 where it does not."""
    rows = tf.shape(values)[0]
    valid = tf.ones((rows,), tf.bool)
    weight = tf.ones((rows,), tf.float64)
    if mask is not None:
        valid = as_rows("mask", as_mask("mask", mask), values)
    counted = running.counted_rows(values.shape[:1], masked=mask is not None)
    if counted is not None:
        valid &= counted
    if sample_weight is not None:
        weight = as_float("sample_weight", sample_weight, tf.float64)
        weight = checked_weights(as_rows("sample_weight", weight, values))
    return valid, tf.where(valid, weight, tf.zeros_like(weight))


def matrix(name: str, value: Any) -> tf.Tensor:
    """Embeddings in float32 or wider, refused unless there is one vector per row."""
    value = widen(as_tensor(name, value))
    if value.shape.rank != 2:
        raise ValueError(
            f"`{name}` must have one embedding per row, shape (rows, dimensions). "
            f"Received: shape {tuple(value.shape)}."
        )
    return value


def require_same_form(name: str, value: tf.Tensor, like_name: str, like: tf.Tensor) -> None:
    """Refuses embeddings whose shape or dtype is not that of others."""
    if value.dtype != like.dtype or not value.shape.is_compatible_with(like.shape):
        raise ValueError(
            f"`{name}` must have the shape and dtype of `{like_name}`, "
            f"{tuple(like.shape)} {like.dtype.name}. "
            f"Received: {tuple(value.shape)} {value.dtype.name}."
        )


def as_rows(name: str, value: tf.Tensor, embeddings: tf.Tensor) -> tf.Tensor:
    """`value` of shape `(rows,)`, refused unless it has one entry per embedding."""
    shape = value.shape
    column = shape.rank == 2 and shape[1] == 1
    if not (shape.rank == 1 or column) or not shape[:1].is_compatible_with(embeddings.shape[:1]):
        raise ValueError(
            f"`{name}` must have one entry a row, shape (rows,) or (rows, 1). "
            f"Received: shape {tuple(shape)} for embeddings of shape "
            f"{tuple(embeddings.shape)}."
        )
    return tf.reshape(value, (-1,))


def as_labels(name: str, labels: Any) -> tf.Tensor:
    """Labels that can be compared: strings as hashes, integers as int64."""
    labels = as_tensor(name, labels, of="integers or strings", text=True)
    if labels.dtype == tf.string:
        if compat.in_xla():
            raise ValueError(
                f"`{name}` must be integers under XLA, which has no strings. Received: "
                "strings with `jit_compile=True`. Turn them into integers before `fit`, "
                "or compile with `jit_compile=False`."
            )
        return tf.strings.to_hash_bucket_fast(labels, 2**63 - 1)
    if labels.dtype.is_integer:
        return tf.cast(labels, tf.int64)
    if labels.dtype not in (tf.float32, tf.float64):
        raise TypeError(
            f"`{name}` must be integers, strings, or whole numbers in float32 (up to "
            f"2**24) or float64. Received: dtype {labels.dtype.name}."
        )
    return labels
