"""What a step trains: all of a model, or what it names."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_trainsteps import compat


def trained_weights(model: keras.Model, trains: Any) -> list[keras.Variable]:
    """The trainable weights of what `trains` says, in the order of the model; `None`: all.

    Args:
        model: The model.
        trains: Layers, or names of attributes or of layers; alone or several.

    Raises:
        ValueError: For a name of neither.
    """
    weights: list[keras.Variable] = model.trainable_weights
    if trains is None:
        return weights
    named = trains if isinstance(trains, (list, tuple)) else [trains]
    of_these = {id(weight) for one in named for weight in _layer(model, one).trainable_weights}
    return [weight for weight in weights if id(weight) in of_these]


def warn_of_hook_alone(
    model: keras.Model,
    watched: Sequence[tf.Variable],
    reached: Iterable[tf.Variable],
    warned: set[str],
) -> None:
    """Warns of layers that `compute_losses` alone calls, as a teacher, and that are trained.

    Args:
        model: The model.
        watched: The variables that the loss reads.
        reached: The variables that the network reads.
        warned: The names of those it has warned of, to be added to.
    """
    read, of_network = {id(each) for each in watched}, {id(each) for each in reached}
    alone = {
        _attribute(model, layer)
        for layer in compat.sublayers(model, nested=False)
        if (ids := {id(weight.value) for weight in layer.trainable_weights}) & read
        and not ids & of_network
    }
    if alone - warned:
        warned |= alone
        warnings.warn(
            f"`compute_losses` alone calls the layers {sorted(alone)}, and trains them. To leave "
            "one as it is, set its `trainable` to `False`; to train it, say so: name everything "
            "that is trained in the class, as in `trains = ('network', 'head')`.",
            stacklevel=2,
        )


def _layer(model: keras.Model, named: Any) -> keras.layers.Layer:
    if isinstance(named, keras.layers.Layer):
        return named
    layers = compat.sublayers(model, nested=False)
    found = getattr(model, named, None) if isinstance(named, str) else None
    if found is None:
        found = next((layer for layer in layers if layer.name == named), None)
    if not isinstance(found, keras.layers.Layer):
        raise ValueError(
            "`trains` must name attributes of the model that are layers, or layers. Received: "
            f"{named!r}, where there are {[_attribute(model, each) for each in layers]}."
        )
    return found


def _attribute(model: keras.Model, layer: keras.layers.Layer) -> str:
    """The name of the attribute that a layer is, or its own."""
    attributes = (name for name, value in vars(model).items() if value is layer)
    return next(attributes, layer.name)
