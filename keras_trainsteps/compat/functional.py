"""Functional models: their class, and the graph that they are made of."""

from __future__ import annotations

import functools
from typing import Any

import keras


@functools.cache
def functional_class() -> type[keras.Model]:
    """The class of Functional models, which Keras does not export (seen in 3.15.1).

    Every part is named, so that no counter of automatic names moves.
    """
    tensor = keras.Input((1,), name="functional_class_input")
    return type(keras.Model(tensor, tensor, name="functional_class"))


def makes_functional(
    cls: type[keras.Model], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> bool:
    """Whether arguments of a constructor turn a model of class `cls` into a Functional one."""
    if issubclass(cls, (functional_class(), keras.Sequential)):
        return False
    given = [*args[:2], *(kwargs[name] for name in ("inputs", "outputs") if name in kwargs)]
    return len(given) == 2 and all(
        isinstance(leaf, keras.KerasTensor) for leaf in keras.tree.flatten(given)
    )


_twins: dict[Any, type[keras.Model]] = {}


def functional_twin(cls: type[keras.Model]) -> type[keras.Model]:
    """The subclass of `cls` that is a Functional model.

    `keras.Model.__init__` makes a subclass Functional by rewriting the bases of every
    class up to `Model`, after which models of these classes that define `call` fail
    ("Functional.__init__() missing 2 required positional arguments", seen in 3.15.1).
    """
    if issubclass(cls, functional_class()):
        return cls
    if cls in _twins:
        return _twins[cls]
    namespace = {"__module__": cls.__module__, "__doc__": cls.__doc__}
    twin = type(cls.__name__, (cls, functional_class()), namespace)
    twin.__qualname__ = cls.__qualname__
    registered = keras.saving.get_registered_name(cls)
    if ">" in registered:  # the twin is saved under the name of `cls`
        package, name = registered.split(">")
        keras.saving.register_keras_serializable(package, name)(twin)
        keras.saving.register_keras_serializable(package, name)(cls)
    _twins[cls] = twin
    return twin


def named_in_legacy_files(cls: type[keras.Model]) -> type[keras.Model]:
    """Lets a legacy `.h5` file name a registered class.

    Such a file names the class of a model without its package, and finds none (seen in 3.15.1).
    """
    keras.saving.get_custom_objects()[cls.__name__] = cls
    return cls


def layer_of(tensor: keras.KerasTensor) -> Any:
    """The layer or operation whose output a tensor of a graph is."""
    return tensor._keras_history.operation


_GRAPH = (
    "_outputs",
    "_outputs_struct",
    "_nodes",
    "_nodes_by_depth",
    "_operations",
    "_operations_by_depth",
)


def take_graph(model: keras.Model, grown: keras.Model) -> None:
    """Gives a Functional model the outputs, and with them the layers, of another one.

    Keras offers no way to extend a graph in place (seen in 3.15.1). The layers come in the
    order that a model newly made of these outputs has, since optimizer states are saved
    in it.
    """
    attached = [layer for layer in model._layers if layer not in model.layers]
    for layer in list(model._layers):
        model._tracker.untrack(layer)
    for name in _GRAPH:
        vars(model)[name] = vars(grown)[name]
    in_graph = {id(layer) for layer in model.layers}
    for layer in [*model.layers, *(one for one in attached if id(one) not in in_graph)]:
        model._tracker.track(layer)


def node_of_outputs(model: keras.Model) -> Any:
    """The call of the one layer that gives all outputs of a Functional model, else `None`.

    Keras keeps for itself which call a tensor comes from (seen in 3.15.1).
    """
    histories = [tensor._keras_history for tensor in keras.tree.flatten(model.output)]
    layer, index = histories[0].operation, histories[0].node_index
    if any(history.operation is not layer for history in histories):
        return None
    return layer._inbound_nodes[index]
