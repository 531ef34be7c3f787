"""Arguments of losses and metrics: one of several choices, positive numbers, exact floats."""

from __future__ import annotations

from typing import Any, get_args

import keras
import numpy as np
import tensorflow as tf


def require_choice(name: str, value: Any, choices: Any) -> None:
    """Refuses a value that is none of a `Literal`'s."""
    if value not in get_args(choices):
        listed = ", ".join(f"'{choice}'" for choice in get_args(choices))
        raise ValueError(f"`{name}` must be one of {listed}. Received: {value!r}.")


def require_positive(name: str, value: Any) -> None:
    """Refuses a number that is not above 0; tensors are taken as they are."""
    if tf.is_tensor(value) or isinstance(value, keras.Variable):
        return
    if not (isinstance(value, (int, float)) and 0 < value < float("inf")):
        raise ValueError(f"`{name}` must be a finite number above 0. Received: {value!r}.")


def as_float(value: Any, dtype: tf.DType) -> tf.Tensor:
    """`value` as a tensor of `dtype`; TensorFlow itself makes 0.1 a float32 on the way."""
    if isinstance(value, (int, float, list, tuple)):
        value = np.asarray(value)
    return tf.cast(tf.convert_to_tensor(value), dtype)
