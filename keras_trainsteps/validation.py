"""Arguments of losses and metrics: choices, positive numbers, exact floats, refused values."""

from __future__ import annotations

from typing import Any, get_args

import keras
import numpy as np
import tensorflow as tf

from keras_trainsteps import compat
from keras_trainsteps.step.terms import FAILED


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


def refuse(value: tf.Tensor, broken: tf.Tensor, what: str, rule: str, way_out: str) -> tf.Tensor:
    """Numbers, refused where they are `broken`: at once if they can be seen, else when run.

    XLA cannot refuse: there floats become NaN, so that what is made of them shows it.
    """
    if compat.in_xla():
        if value.dtype.is_floating:
            value = tf.where(broken, tf.constant(float("nan"), value.dtype), value)
        return value
    if tf.executing_eagerly():
        if bool(tf.reduce_any(broken)):
            received = tf.boolean_mask(value, broken)[0].numpy()
            raise ValueError(f"{rule}. Received: a {what} of {received}. {way_out}")
        return value
    message = f"{FAILED}{rule}. Received: another {what}. {way_out}"
    with tf.control_dependencies([tf.debugging.Assert(~tf.reduce_any(broken), [message])]):
        return tf.identity(value)
