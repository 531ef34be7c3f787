"""Which layers of a model are its network, and the network alone as stock Keras.

What only trains is no part of it: a layer that says so by `part_of_network = False`, as the
one that holds what `add_loss` and `add_metric` gave a model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from keras_trainsteps import compat


def is_network(layer: keras.layers.Layer) -> bool:
    """Whether a layer is part of the network: it is, unless it says that it is not."""
    return bool(getattr(layer, "part_of_network", True))


def is_graph(layer: keras.layers.Layer) -> bool:
    """Whether a layer is a model whose graph Keras knows."""
    return isinstance(layer, keras.Sequential | compat.functional_class())


def network_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """The layers of the network: not what the model itself owns, nor what only a loss uses.

    Raises:
        ValueError: When the model is not built.
    """
    require_built(model)
    if isinstance(model, compat.functional_class()):
        layers: Sequence[keras.layers.Layer] = network_of(model).layers
    else:
        layers = [layer for layer in model.layers if is_network(layer)]
    return list(layers)


def network_of(model: keras.Model) -> keras.Model:
    """The network of a Functional or Sequential model, as stock Keras, with its own layers.

    Raises:
        ValueError: When the model is not built.
    """
    if isinstance(model, keras.Sequential):
        require_built(model)
        first = model.inputs[0]
        given = keras.Input(batch_shape=first.shape, dtype=first.dtype, name=first.name)
        return keras.Sequential([given, *network_layers(model)], name=model.name)
    return keras.Model(model.input, network_output(model), name=model.name)


def network_output(model: keras.Model) -> Any:
    """The outputs of a Functional model, before the last layer if that only trains."""
    node = training_node(model)
    return model.output if node is None else node.arguments.args[0]


def training_node(model: keras.Model) -> Any:
    """The call of the layer that gives the outputs of a Functional model and only trains."""
    node = compat.node_of_outputs(model)
    return None if node is None or is_network(node.operation) else node


def require_built(model: keras.Model) -> None:
    """Refuses a model whose weights or inputs are not known yet."""
    if not model.built or (isinstance(model, keras.Sequential) and not model.inputs):
        raise ValueError(
            "`model` must be built: it has no weights yet. Received: an unbuilt "
            f"{type(model).__name__}. Call it on a batch, or declare its input."
        )
