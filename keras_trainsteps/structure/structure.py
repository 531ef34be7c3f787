"""What a model consists of, by names that do not depend on how often models were built.

Keras numbers layers without a name through the process (`dense_7`), and stores attributes
of a subclassed model by name or by the order of lines in `__init__`, depending on their
first letters (seen in 3.15.1). Here a layer is called by its name or, if Keras named it,
by its class and place; in a class of one's own by the attribute that holds it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from keras_trainsteps import compat
from keras_trainsteps.structure.attributes import held_by
from keras_trainsteps.structure.names import layer_names
from keras_trainsteps.structure.network import is_graph, is_network
from keras_trainsteps.structure.signatures import graph_signatures, layer_signature

Variables = dict[str, keras.Variable]

_TRAINING = "added_terms"  # what is no part of the network goes by this name


class Structure(NamedTuple):
    """The parts of a built model.

    Attributes:
        weights: Weights of the network and of the model itself, by path.
        seeds: States of random generators, by path.
        layers: What each layer computes: its class, its config and what it is called on.
        vocabularies: The lookup layers, by path.
    """

    weights: Variables
    seeds: Variables
    layers: dict[str, dict[str, Any]]
    vocabularies: dict[str, Any]


def structure_of(model: keras.Model, *, training: bool = False) -> Structure:
    """The parts of a built model.

    Args:
        model: The model.
        training: Whether `layers` tells what only training needs, too: rates of noise,
            regularizers, what is frozen.

    Raises:
        ValueError: When the model is not built, or holds variables that Keras neither
            trains nor saves.
    """
    if not model.built:
        raise ValueError(
            "`model` must be built, so that its weights are known. Received: an unbuilt "
            f"{type(model).__name__}. Call it on a batch, or declare its input."
        )
    found = Structure({}, {}, {}, {})
    _visit(model, "", found, set(), training)
    _require_plain_losses(model)
    known = {id(variable) for variable in found.weights.values()}
    for variable in model.weights:
        if id(variable) not in known:
            _add(found.weights, f"other/{variable.name}", variable)
    return found


def value_of(variable: Any) -> npt.NDArray[Any]:
    """The value of a variable on the host, for reading: on a CPU it is not copied.

    It stays as it is when the variable changes later.
    """
    return np.asarray(tf.convert_to_tensor(variable))


def _visit(layer: Any, path: str, found: Structure, seen: set[int], training: bool) -> None:
    seen.add(id(layer))
    children = list(_children(layer, path, found, training))
    for key, child in children:
        if id(child) not in seen:
            here = f"{path}/{key}" if path else key
            if key.split("/")[0] != _TRAINING:  # of a loss, which a new job may change
                found.layers.setdefault(here, layer_signature(child, training=training))
            _visit(child, here, found, seen, training)
    below = {id(weight) for _, child in children for weight in child.weights}
    own = {id(weight) for weight in layer.weights} - below
    named: dict[int, str] = {}
    for key, value in held_by(layer, (keras.Variable, keras.random.SeedGenerator, tf.Variable)):
        if isinstance(value, tf.Variable):
            raise ValueError(
                f"`{key}` must be a weight, so that it is trained and saved. Received: a "
                f"`tf.Variable` in {path or 'the model'}, of which Keras knows nothing. "
                "Make it with `self.add_weight(name=...)`."
            )
        if isinstance(value, keras.random.SeedGenerator):
            _add(found.seeds, f"{path}/{key}".strip("/"), value.state)
        elif id(value) in own:
            named.setdefault(id(value), key)
    for weight in layer.weights:
        if id(weight) in own:
            key = named.get(id(weight), weight.name)
            _add(found.weights, f"{path}/{key}".strip("/"), weight)
    if hasattr(layer, "get_vocabulary"):
        found.vocabularies[path] = layer


def _require_plain_losses(model: keras.Model) -> None:
    """Refuses a coefficient in a loss object: it is not trained and not saved."""
    for loss in keras.tree.flatten(getattr(model, "loss", None)):
        held = held_by(loss, (keras.Variable, tf.Variable)) if hasattr(loss, "__dict__") else ()
        for key, _ in held:
            raise ValueError(
                f"`loss` must hold no variables. Received: {key!r} of "
                f"{type(loss).__name__}, which Keras neither trains nor saves. Make it a "
                "weight of the model, `self.add_weight(name=...)`, and use it in "
                "`compute_losses`."
            )


def _children(
    layer: Any, path: str, found: Structure, training: bool
) -> Iterator[tuple[str, Any]]:
    """The layers that a layer holds, by name."""
    if is_graph(layer):
        config, names = graph_signatures(layer, training=training)
        prefix = f"{path}/" if path else ""
        for key, signature in config.items():
            found.layers[prefix + key] = signature
        for child in layer.layers:
            if child.name in names:
                yield names[child.name], child
        yield from _only_trained([child for child in layer.layers if child.name not in names])
    for key, child in held_by(layer, keras.layers.Layer):
        yield key if is_network(child) else _TRAINING, child
    if not isinstance(layer, keras.Model):
        for index, child in enumerate(compat.tracked_layers(layer)):
            yield f"layer_{index}", child


def _only_trained(layers: list[keras.layers.Layer]) -> Iterator[tuple[str, Any]]:
    """The layers of a graph that only added losses use, by name."""
    yield from ((_TRAINING, layer) for layer in layers if not is_network(layer))
    others = [layer for layer in layers if is_network(layer)]
    names = layer_names(others)
    yield from ((f"{_TRAINING}/{names[layer.name]}", layer) for layer in others)


def _add(variables: Variables, path: str, variable: keras.Variable) -> None:
    name, number = path, 1
    while name in variables and variables[name] is not variable:
        name, number = f"{path}:{number}", number + 1
    variables[name] = variable
