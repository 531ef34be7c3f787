"""Checks that an added loss is a number, and that it trains."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


def require_gradient(
    name: str, function: Callable[[], Any], weights: Sequence[keras.Variable] = ()
) -> None:
    """Refuses a loss that would train nothing, or leave alone one of the weights it is given."""
    strategy = tf.distribute.get_strategy()
    given = [strategy.experimental_local_results(weight.value)[0] for weight in weights]
    with tf.GradientTape() as tape:
        tape.watch(given)
        value = as_scalar(name, as_loss(tf.convert_to_tensor(function())))
    read = tape.watched_variables()
    trained = [gradient is not None for gradient in tape.gradient(value, given or read)]
    if given and not all(trained):
        without = [weight.path for weight, each in zip(weights, trained, strict=True) if not each]
        raise ValueError(
            f"Added loss {name!r} must have a gradient for each of its weights. Received: "
            f"none for {without}. Use these weights in its function, or leave them out."
        )
    if not any(trained):
        names = sorted({variable.name.split(":")[0] for variable in read})
        raise ValueError(
            f"Added loss {name!r} has no gradient: it would train nothing. Received: a function "
            f"that reads {names or 'no trainable weight'}. Compute it from weights of the model "
            "inside the function, without `.numpy()` or `float()`; to see a number that trains "
            "nothing use `add_metric`."
        )
