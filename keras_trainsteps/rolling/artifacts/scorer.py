"""The network alone: a model as stock Keras, without loss, side inputs and coefficients."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from typing import Any, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from keras_trainsteps.rolling.disk.arrays import bytes_of
from keras_trainsteps.structure.network import (
    is_graph,
    network_layers,
    network_of,
    require_built,
)

# Constants in a config, as Keras spells them (3.15.1).
_VALUES = ("__keras_tensor__", "__tensor__", "__numpy__", "__slice__", "__ellipsis__", "dict")


Inputs: TypeAlias = Any
"""`keras.Input`s or `keras.InputSpec`s with names: one, or a list or dict of them."""


def scorer_of(model: keras.Model, inputs: Inputs = None) -> keras.Model:
    """The network of a model as a stock Functional or Sequential model.

    It shares the layers and weights of `model`. What belongs to training alone is not in
    it: the loss, side inputs, coefficients that the model itself owns, the optimizer.

    Args:
        model: A built model. Functional and Sequential ones are taken as they are. One
            that defines `call` is traced through `call` on symbolic inputs: possible when
            `call` uses layers and `keras.ops` alone.
        inputs: For a model that defines `call`: the structure of `keras.Input` (or
            `keras.InputSpec` with names) that its `call` takes, side inputs left out.

    Raises:
        ValueError: When the model is not built, or its network cannot be separated.
    """
    return network_of(model) if is_graph(model) else _traced(model, inputs)


def fingerprint(model: keras.Model) -> str:
    """SHA-256 of the weights of a model's network, its vocabularies among them.

    Two models with one fingerprint predict the same if they have the same layers. What
    only training uses (coefficients, optimizer, random states) is left out.

    Args:
        model: A built model.

    Returns:
        64 hexadecimal digits.

    Raises:
        ValueError: When the model is not built.

    Example:

    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    >>> before = fingerprint(model)
    >>> fingerprint(keras.models.clone_model(model)) == before  # other weights
    False
    """
    digest = hashlib.sha256()
    for layer in network_layers(model):
        for weight in layer.weights:
            value = np.asarray(tf.convert_to_tensor(weight))
            digest.update(f"{value.shape}{value.dtype}".encode())
            digest.update(bytes_of(value))
        if hasattr(layer, "get_vocabulary"):
            digest.update("\0".join(map(str, layer.get_vocabulary())).encode())
    return digest.hexdigest()


def require_stock(config: Any, custom_layers: Collection[str] = ()) -> None:
    """Refuses a config with code in it, or classes that are neither Keras's nor named.

    Args:
        config: A serialized model.
        custom_layers: Registered names of other classes that may be in it.

    Raises:
        ValueError: For a lambda or a class from elsewhere.
    """
    for found in _dicts(config):
        name = found.get("class_name")
        if name == "Lambda" or name == "__lambda__":
            raise ValueError(
                "The network must not hold Python code: a `Lambda` layer is code inside "
                "the file. Received: one. Use `keras.ops` or a layer class of its own."
            )
        if name is None or name in _VALUES:
            continue
        module = found.get("module") or ""
        registered = found.get("registered_name") or ""
        stock = module in ("keras", "builtins") or module.startswith("keras.")
        stock = stock and ">" not in registered
        if not stock and not {registered, name} & set(custom_layers):
            raise ValueError(
                "The network must consist of Keras's own classes, so that it loads where "
                f"no other code is. Received: class {registered or name!r} of "
                f"{module or 'no module'!r}. Name it in `custom_layers` if whoever loads "
                "the file has it."
            )


def _traced(model: keras.Model, inputs: Any) -> keras.Model:
    if inputs is None:
        raise ValueError(
            "`inputs` must be given for a model that defines `call`: Keras does not say "
            f"what it takes. Received: {type(model).__name__} without `inputs`. Pass the "
            "structure of `keras.Input` that `call` takes, side inputs left out."
        )
    require_built(model)
    symbolic = keras.tree.map_structure(_as_input, inputs)
    try:
        # `call` and not the model: its layers become the nodes of the twin.
        outputs = model.call(symbolic)
        twin = keras.Model(symbolic, outputs, name=model.name)
        twin.get_config()
    except Exception as error:
        raise ValueError(
            f"The network of {type(model).__name__} must be layers and `keras.ops`, to be "
            f"saved as stock Keras. Received: a `call` that fails on symbolic inputs: "
            f"{type(error).__name__}: {error}. Give the model a Functional network as an "
            "attribute and save that, or use `export_serving`."
        ) from error
    own = {id(weight) for layer in twin.layers for weight in layer.weights}
    lost = [
        weight.path
        for layer in network_layers(model)
        for weight in layer.weights
        if id(weight) not in own
    ]
    if lost:
        raise ValueError(
            "Every layer of the network must be called in `call`. Received: weights that "
            f"`call` does not reach: {lost}. Keep what only the loss uses out of the "
            "layers, as weights of the model itself."
        )
    return twin


def _as_input(spec: Any) -> Any:
    if isinstance(spec, keras.KerasTensor):
        return spec
    return keras.Input(batch_shape=tuple(spec.shape), dtype=spec.dtype, name=spec.name)


def _dicts(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, Mapping):
        yield value
        for item in value.values():
            yield from _dicts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _dicts(item)
