"""The graph of a Functional model whose last layer holds what was added."""

from __future__ import annotations

from typing import Any

import keras

from keras_trainsteps import compat
from keras_trainsteps.added.layer import AddedTerms


def network_output(model: keras.Model) -> Any:
    """The outputs of a Functional model, before the layer of added terms."""
    node = _node_of_terms(model)
    return model.output if node is None else node.arguments.args[0]


def added(model: keras.Model) -> tuple[AddedTerms | None, dict[str, keras.KerasTensor]]:
    """The layer of added terms, if there is one, and the tensors that it takes, by name."""
    node = _node_of_terms(model)
    if node is None:
        return None, {}
    taken = [node.arguments.kwargs.get(kind) or {} for kind in ("losses", "metrics")]
    return node.operation, {**taken[0], **taken[1]}


def extended(
    model: keras.Model, layer: AddedTerms, symbolic: dict[str, keras.KerasTensor]
) -> keras.Model:
    """A model of the same graph with `layer` as its last, which takes these tensors."""
    kinds = {term.name: term.kind for term in layer.terms}
    losses = {name: tensor for name, tensor in symbolic.items() if kinds[name] == "loss"}
    metrics = {name: tensor for name, tensor in symbolic.items() if kinds[name] == "metric"}
    outputs = network_output(model)
    try:
        passed_on = layer(outputs, losses=losses or None, metrics=metrics or None)
        return keras.Model(model.input, passed_on, name=model.name)
    except ValueError as error:
        raise ValueError(
            "An added tensor must be computed from the inputs of the model it is added "
            f"to, {model.name!r} with inputs {[x.name for x in model.inputs]}. Received: "
            f"{_origins(symbolic, model)}. Add it to the model that it belongs to."
        ) from error


def _node_of_terms(model: keras.Model) -> Any:
    """The call of the layer of added terms that gives the outputs of a Functional model."""
    outputs = keras.tree.flatten(model.output)
    layer = compat.layer_of(outputs[0])
    if isinstance(layer, AddedTerms) and all(compat.layer_of(each) is layer for each in outputs):
        return compat.call_of(outputs[0])
    return None


def _origins(symbolic: dict[str, keras.KerasTensor], model: keras.Model) -> str:
    """Which of these tensors do not come from the inputs of `model`, and where from."""
    foreign = []
    for name, tensor in symbolic.items():
        try:
            keras.Model(model.input, tensor)
        except ValueError:
            operation = compat.layer_of(tensor)
            foreign.append(f"{name!r}, an output of {operation.name!r} in another graph")
    return "; ".join(foreign)
