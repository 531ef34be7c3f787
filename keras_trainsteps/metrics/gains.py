"""What a label is worth and what a rank leaves of it: the functions that DCG is made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from keras_trainsteps.queries import exponential

Function = Callable[[tf.Tensor], tf.Tensor]


def linear(labels: tf.Tensor) -> tf.Tensor:
    """`y`."""
    return labels


def log2(ranks: tf.Tensor) -> tf.Tensor:
    """One over the base-2 logarithm of `1 + rank`, for ranks from 1."""
    return tf.math.log(tf.constant(2.0, ranks.dtype)) / tf.math.log1p(ranks)


GAINS: dict[str, Function] = {"exponential": exponential, "linear": linear}
DISCOUNTS: dict[str, Function] = {"log2": log2}


def as_function(name: str, value: Any, named: dict[str, Function]) -> Function:
    """The function that an argument names, or is."""
    if isinstance(value, str) and value in named:
        return named[value]
    if callable(value):
        return value
    listed = ", ".join(f"'{choice}'" for choice in named)
    raise ValueError(f"`{name}` must be one of {listed}, or a function. Received: {value!r}.")


def to_config(value: Any) -> Any:
    """A name as it is; a function as Keras serialises it."""
    return value if isinstance(value, str) else keras.saving.serialize_keras_object(value)


def from_config(value: Any) -> Any:
    """What `to_config` was given."""
    return value if isinstance(value, str) else keras.saving.deserialize_keras_object(value)
