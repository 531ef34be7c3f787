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

    All are those that no `Ema` sets.

    Args:
        model: The model.
        trains: Layers, or names of attributes or of layers; alone or several.

    Raises:
        ValueError: For a name of neither.
    """
    weights: list[keras.Variable] = model.trainable_weights
    if trains is None:
        followed = {id(weight) for weight in followed_weights(model)}
        return (
            [weight for weight in weights if id(weight) not in followed] if followed else weights
        )
    of_these = {id(w) for each in layers_of(model, trains) for w in each.trainable_weights}
    return [weight for weight in weights if id(weight) in of_these]


def layers_of(model: keras.Model, named: Any) -> list[keras.layers.Layer]:
    """The layers that are named: layers, or names of attributes or of layers; one or several."""
    every = named if isinstance(named, (list, tuple, set)) else [named]
    return [_layer(model, one) for one in every]


def require_layers(model: keras.Model, trains: Any) -> None:
    """Refuses names of no layers."""
    if trains is not None:
        layers_of(model, trains)


def followed_weights(model: keras.Model) -> list[keras.Variable]:
    """The weights of networks that follow others after a step, and that nothing trains."""
    rules = getattr(model, "after_step", ())
    into = [one for rule in rules for one in getattr(rule, "into", ())]
    return [weight for each in layers_of(model, into) for weight in each.weights]


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
    read -= {id(weight.value) for weight in followed_weights(model)}
    alone = {
        attribute_of(model, layer)
        for layer in compat.sublayers(model, nested=False)
        if getattr(layer, "part_of_network", True)  # not what `add_loss` made
        and (ids := {id(weight.value) for weight in layer.trainable_weights}) & read
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
    if not isinstance(found, keras.layers.Layer):
        found = next((layer for layer in layers if layer.name == named), None)
    if not isinstance(found, keras.layers.Layer):
        raise ValueError(
            "`trains` must name attributes of the model that are layers, or layers. Received: "
            f"{named!r}, where there are {[attribute_of(model, each) for each in layers]}."
        )
    return found


def attribute_of(model: keras.Model, layer: keras.layers.Layer) -> str:
    """The name of the attribute that a layer is, or its own."""
    attributes = (name for name, value in vars(model).items() if value is layer)
    return next(attributes, layer.name)
