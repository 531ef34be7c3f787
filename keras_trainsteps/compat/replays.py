"""What a call of layers changes and draws: whether it can run again with the same outcome."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import keras
import tensorflow as tf
from tensorflow.python.framework import auto_control_deps_utils

from keras_trainsteps.compat.layers import global_random_state, sublayers


def random_states(model: keras.Model) -> list[keras.Variable]:
    """The states of all generators that a model draws from.

    Keras keeps those of a layer to itself (seen in 3.15.1).
    """
    layers = (model, *sublayers(model))
    states = [each.state for layer in layers for each in layer._seed_generators]
    of_all = global_random_state()
    states += [] if of_all is None else [of_all]
    return list({id(state): state for state in states}.values())


def changed_by(operations: Iterable[tf.Operation]) -> Iterator[tf.Tensor]:
    """The handles of what operations of a function change, as the outermost caller holds them.

    TensorFlow offers no public way to ask (seen in 2.21).
    """
    for operation in operations:
        _, changed = auto_control_deps_utils.get_read_write_resource_inputs(operation)
        for handle in changed:
            yield _outermost(handle)


def kinds_of(graph: tf.Graph) -> set[str]:
    """The kinds of all operations of the graph of a function, and of the functions it calls."""
    called = (
        node.op
        for function in graph.as_graph_def().library.function
        for node in function.node_def
    )
    return {*called, *(operation.type for operation in graph.get_operations())}


def losses_by_layer(model: keras.Model) -> list[tuple[keras.layers.Layer, list[Any]]]:
    """What each layer, and the model, has passed to `add_loss` in its last call."""
    every = ((layer, list(layer._losses)) for layer in (model, *sublayers(model)))
    return [(layer, losses) for layer, losses in every if losses]


def set_losses_of_call(layer: keras.layers.Layer, losses: Iterable[Any]) -> None:
    """Puts losses in the place of those that a layer has added in its last call.

    Keras has no public way to take them back (seen in 3.15.1).
    """
    layer._losses[:] = losses


def _outermost(handle: Any) -> Any:
    while getattr(handle, "graph", None) is not None and hasattr(handle.graph, "captures"):
        outer = next((o for o, inner in handle.graph.captures if inner is handle), None)
        if outer is None:
            return handle
        handle = outer
    return handle
