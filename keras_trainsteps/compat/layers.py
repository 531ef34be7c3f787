"""What layers keep to themselves: losses, masks, sublayers, weights."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf
from keras.src.backend.common import global_state
from keras.src.backend.common.symbolic_scope import in_symbolic_scope


def global_random_state() -> keras.Variable | None:
    """The state of the generator that `keras.random` draws from when no seed is given.

    It belongs to no layer, and Keras exports it not (seen in 3.15.1). `None` when there is
    none yet: to make one would draw from Python's generator.
    """
    generator = global_state.get_global_attribute("global_seed_generator")
    return None if generator is None else generator.state


def mask_of(tensor: Any) -> Any:
    """The mask that Keras attached to an output; `None` without one."""
    return getattr(tensor, "_keras_mask", None)


def with_mask(tensor: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """`tensor` again, with a mask as Keras attaches it to outputs."""
    tensor = tf.identity(tensor)
    tensor._keras_mask = mask
    return tensor


def with_mask_of(tensor: Any, other: tf.Tensor) -> tf.Tensor:
    """`other`, made of `tensor`, with the mask that Keras attached to `tensor`."""
    mask = mask_of(tensor)
    if mask is not None:
        other._keras_mask = mask
    return other


def own_losses(layer: keras.layers.Layer) -> list[Any]:
    """What a layer itself, and none inside it, has passed to `add_loss` in this call."""
    return list(keras.layers.Layer._get_own_losses(layer))


def losses_of_calls(model: keras.Model) -> list[Any]:
    """What a model and the layers inside it have passed to `add_loss` in their last calls.

    `model.losses` has regularizers of weights, too, which are new each time (seen in 3.15.1).
    """
    return [loss for layer in (model, *sublayers(model)) for loss in layer._losses]


def forget_losses_of_calls(model: keras.Model) -> None:
    """Drops what layers have added in earlier calls, which Keras does when they are called again.

    A layer that is not called in a forward pass still has those of the one before (seen in
    3.15.1).
    """
    for layer in (model, *sublayers(model)):
        layer._losses.clear()


def only_shapes() -> bool:
    """Whether Keras runs code to find out shapes, and builds by it (seen in 3.15.1)."""
    return bool(in_symbolic_scope())


def in_call() -> bool:
    """Whether the `call` of a layer or model is running, which Keras keeps to itself.

    Keras builds a model that has no `build` by its `call` alone, without the context of a
    call (seen in 3.15.1).
    """
    is_called = global_state.get_global_attribute("current_call_ctx") is not None
    return is_called or in_symbolic_scope()


class LossLayer(keras.layers.Layer):
    """A layer that gives losses when `model.losses` is read, and not when it is called.

    `keras.layers.Layer.losses` asks each layer for its own by a private method (seen in
    3.15.1).
    """

    def current_losses(self) -> list[Any]:
        """The losses of this layer with the weights as they are now."""
        return []

    def _get_own_losses(self) -> list[Any]:
        return self.current_losses()


def sublayers(model: keras.Model, *, nested: bool = True) -> list[keras.layers.Layer]:
    """All layers inside a model, which Keras lists nowhere public.

    `model.layers` of a Functional model are those of its graph, without attributes (seen in
    3.15.1).

    Args:
        model: The model.
        nested: Whether layers of layers are among them.
    """
    layers: list[keras.layers.Layer] = model._flatten_layers(include_self=False, recursive=nested)
    return layers


@contextlib.contextmanager
def unlocked(layer: keras.layers.Layer) -> Iterator[None]:
    """Lets a built layer take another sublayer, which Keras refuses (seen in 3.15.1)."""
    tracker = layer._tracker
    locked, tracker.locked = tracker.locked, False
    try:
        yield
    finally:
        tracker.locked = locked


def as_weight(variable: tf.Variable, name: str) -> keras.Variable:
    """A `tf.Variable` as a Keras variable that shares its value.

    Keras neither trains nor saves a `tf.Variable` that is an attribute of a model, and says
    nothing (seen in 3.15.1).
    """
    weight = keras.Variable(
        tf.zeros(variable.shape, variable.dtype),
        dtype=variable.dtype.name,
        trainable=variable.trainable and variable.dtype.is_floating,
        name=name,
    )
    weight._value = variable
    return weight


def tracked_layers(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """The layers right inside a layer, also those that no attribute holds.

    Keras lists them of models alone (seen in 3.15.1).
    """
    return list(getattr(layer, "_layers", ()))


@functools.cache
def stock_attributes() -> frozenset[str]:
    """The attributes that Keras itself gives to models, layers and metrics.

    Whatever else is there a user has put there. Every part is named, so that no counter of
    automatic names moves.
    """
    inputs = keras.Input((1,), name="stock_attributes_input")
    output = keras.layers.Identity(name="stock_attributes_identity")(inputs)
    models = [
        keras.Model(inputs, output, name="stock_attributes_model"),
        keras.Sequential([inputs], name="stock_attributes_sequential"),
    ]
    for model in models:
        model.compile(keras.optimizers.SGD(name="stock_attributes_sgd"), loss="mse")
    layer = keras.layers.Identity(name="stock_attributes_layer")
    made = [*models, layer, keras.metrics.Mean(name="stock_attributes_mean")]
    of_fit = ("_eval_epoch_iterator", "history")
    return frozenset(name for one in made for name in vars(one)) | {*of_fit}


_KERAS_ATTRIBUTES = frozenset(
    [
        "_tracker",
        "_tracked",
        "_layers",
        "_operations",
        "_operations_by_depth",
        "_nodes",
        "_nodes_by_depth",
        "_inbound_nodes",
        "_outbound_nodes",
        "_functional",
        "_metrics",
        "_loss_tracker",
        "_seed_generators",
        "_trainable_variables",
        "_non_trainable_variables",
        "_inputs",
        "_outputs",
        "_inputs_struct",
        "_outputs_struct",
        "_losses",
        "optimizer",
        "history",
        "_compile_metrics",
        "_compile_loss",
        "_compiled_trainable_state",
    ]
)


def is_keras_attribute(name: str) -> bool:
    """Whether an attribute of a layer or model is one in which Keras keeps its own lists.

    They hold what other attributes hold under names that users gave (seen in 3.15.1);
    those of TensorFlow begin with `_self_` (seen in 2.21).
    """
    return name in _KERAS_ATTRIBUTES or name.startswith("_self_")
