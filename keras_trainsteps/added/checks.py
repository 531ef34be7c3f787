"""Checks that an added loss is a number, and that it trains."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from keras_trainsteps.step.terms import as_loss


def as_scalar(name: str, value: tf.Tensor) -> tf.Tensor:
    """The value of an added loss, which must be a single number."""
    if any(size != 1 for size in value.shape):
        raise ValueError(
            f"Added loss {name!r} must be a scalar. Received: shape {tuple(value.shape)}. "
            "Reduce it in the function, by `keras.ops.sum` or `keras.ops.mean`."
        )
    return tf.reshape(value, ())


def require_gradient(name: str, function: Callable[[], Any]) -> None:
    """Refuses a function that would train nothing."""
    with tf.GradientTape() as tape:
        value = as_scalar(name, as_loss(tf.convert_to_tensor(function())))
    watched = tape.watched_variables()
    if any(gradient is not None for gradient in tape.gradient(value, watched)):
        return
    read = sorted({variable.name.split(":")[0] for variable in watched})
    raise ValueError(
        f"Added loss {name!r} has no gradient: it would train nothing. Received: a function "
        f"that reads {read or 'no trainable weight'}. Compute it from weights of the model "
        "inside the function, without `.numpy()` or `float()`; to see a number that trains "
        "nothing use `add_metric`."
    )


def require_gradients(
    name: str, function: Callable[[], Any], weights: list[keras.Variable]
) -> None:
    """Refuses a penalty that would leave some of its weights alone."""
    strategy = tf.distribute.get_strategy()
    read = [strategy.experimental_local_results(weight.value)[0] for weight in weights]
    with tf.GradientTape() as tape:
        tape.watch(read)
        value = as_scalar(name, as_loss(tf.convert_to_tensor(function())))
    gradients = tape.gradient(value, read)
    without = [w.path for w, gradient in zip(weights, gradients, strict=True) if gradient is None]
    if without:
        raise ValueError(
            f"Added loss {name!r} must have a gradient for each of its weights. Received: "
            f"none for {without}. Use these weights in its function, or leave them out."
        )
