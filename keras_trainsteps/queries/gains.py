"""What a label is worth and what a rank leaves of it: one meaning for all losses and metrics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from keras_trainsteps.queries.labels import checked_labels, exponential, relative_gains
from keras_trainsteps.validation import is_number, refuse

Function = Callable[[tf.Tensor], tf.Tensor]

Gains: TypeAlias = Literal["exponential", "linear"] | Sequence[float] | Function
"""`2**y - 1`, `y`, a table with the gain of each label from 0 up, or a function of labels."""

Discount: TypeAlias = Literal["log2", "reciprocal"] | Function
"""`1 / log2(1 + rank)`, `1 / rank`, or a function of ranks."""

LARGEST = 1e280  # sums of these over any data are finite


def _linear(labels: tf.Tensor) -> tf.Tensor:
    return labels


def _log2(ranks: tf.Tensor) -> tf.Tensor:
    return tf.math.log(tf.constant(2.0, ranks.dtype)) / tf.math.log1p(ranks)


_GAINS: dict[str, Function] = {"exponential": exponential, "linear": _linear}
_DISCOUNTS: dict[str, Function] = {"log2": _log2, "reciprocal": tf.math.reciprocal}


def as_gains(value: Any) -> Gains:
    """Gains as they are kept: a table becomes a tuple of floats; anything else is refused."""
    if callable(value) or (isinstance(value, str) and value in _GAINS):
        return value
    table = value.tolist() if isinstance(value, np.ndarray) and value.ndim == 1 else value
    if isinstance(table, list | tuple) and table and all(map(is_number, table)):
        gains = tuple(map(float, table))
        if all(0 <= gain <= LARGEST for gain in gains):
            return gains
        raise ValueError(
            "`gains` must hold finite numbers that are not negative, one for each label from 0 "
            f"up. Received: {value!r}."
        )
    raise ValueError(
        "`gains` must be one of 'exponential', 'linear', a table with the gain of each label "
        f"from 0 up, as `[0, 1, 3, 7]`, or a function. Received: {value!r}."
    )


def as_discount(value: Any) -> Discount:
    """A discount as it is kept; anything else is refused."""
    if callable(value) or (isinstance(value, str) and value in _DISCOUNTS):
        return value
    listed = ", ".join(f"'{name}'" for name in _DISCOUNTS)
    raise ValueError(f"`discount` must be one of {listed}, or a function. Received: {value!r}.")


def gains_of(gains: Gains, labels: tf.Tensor) -> tf.Tensor:
    """The gain of each label, float64; NaN for a label that is not in the table."""
    labels = tf.cast(labels, tf.float64)
    if isinstance(gains, str):
        return _GAINS[gains](labels)
    if callable(gains):
        return tf.cast(gains(labels), tf.float64)
    last = len(gains) - 1
    nan = tf.constant(float("nan"), tf.float64)
    index = tf.cast(tf.clip_by_value(labels, 0, last), tf.int32)  # NaN becomes any of them
    index = tf.clip_by_value(index, 0, last)
    found = tf.gather(tf.constant(gains, tf.float64), index)
    return tf.where(tf.cast(index, tf.float64) == labels, found, nan)


def relative_gains_of(
    gains: Gains, labels: tf.Tensor, query: tf.Tensor, num_queries: tf.Tensor
) -> tf.Tensor:
    """The gains up to a factor of each query, which keeps those of large labels finite."""
    if gains == "exponential":
        return relative_gains(tf.cast(labels, tf.float64), query, num_queries)
    return gains_of(gains, labels)


def grow_with_labels(gains: Gains) -> bool:
    """Whether it is known without a look that a higher label has no smaller gain."""
    if callable(gains):
        return False
    return isinstance(gains, str) or list(gains) == sorted(gains)


def have_gains(gains: Gains, labels: tf.Tensor, largest: float = LARGEST) -> tf.Tensor:
    """Which labels have a gain that can be computed with, bool."""
    found = gains_of(gains, labels)
    return (found >= 0) & (found <= largest)


def gain_rule(gains: Gains, largest: float = LARGEST) -> tuple[str, str]:
    """The rule that `have_gains` looks after, and what to do about a label that breaks it."""
    if not isinstance(gains, str) and not callable(gains):
        return (
            f"`y_true` must be whole numbers from 0 to {len(gains) - 1}, the labels that the "
            "table `gains` has",
            "Give a gain for every label; mark padding with the mask.",
        )
    above = f"{largest:.3g}".replace("e+", "e")
    return (
        f"`y_true` must not be negative or NaN, nor of a gain above {above}: labels are gains "
        "here",
        "Mark padding with the mask, not with a label of -1; scale large labels down.",
    )


def checked_gain_labels(
    labels: tf.Tensor,
    counted: tf.Tensor | None,
    gains: Gains | bool,
    limit: float | None = None,
) -> tf.Tensor:
    """Labels, 0 in rows that do not count, refused where they have no gain.

    Args:
        labels: The labels.
        counted: As in `checked_labels`.
        gains: What labels are worth; `True` where they are gains themselves, `False` where
            they are none.
        limit: The highest label of which exponential gains can be computed with, and the base-2
            logarithm of the largest of other gains. `None` where these are relative to others.
    """
    if isinstance(gains, bool) or gains == "exponential":
        return checked_labels(labels, counted, gains=bool(gains), limit=limit)
    if counted is not None:
        labels = tf.where(counted, labels, tf.zeros_like(labels))
    largest = LARGEST if limit is None else 2.0**limit
    return refuse(
        labels,
        ~have_gains(gains, labels, largest),
        "label",
        *gain_rule(gains, largest),
    )


def discounts_of(discount: Discount, ranks: tf.Tensor) -> tf.Tensor:
    """What each rank leaves of a gain; ranks from 1, float64."""
    function = _DISCOUNTS[discount] if isinstance(discount, str) else discount
    return tf.cast(function(tf.cast(ranks, tf.float64)), tf.float64)


def to_config(value: Gains | Discount | None) -> Any:
    """A name or a table as it is; a function as Keras serialises it."""
    if callable(value):
        return keras.saving.serialize_keras_object(value)
    return list(value) if isinstance(value, tuple) else value


def from_config(value: Any) -> Any:
    """What `to_config` was given."""
    return keras.saving.deserialize_keras_object(value) if isinstance(value, dict) else value
