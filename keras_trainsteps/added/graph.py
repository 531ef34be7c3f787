"""The graph of a Functional model whose last layer holds what was added."""

from __future__ import annotations

import keras

from keras_trainsteps import compat
from keras_trainsteps.added.layer import AddedTerms
from keras_trainsteps.structure.network import network_output, training_node


def added(model: keras.Model) -> tuple[AddedTerms | None, dict[str, keras.KerasTensor]]:
    """The layer of added terms, if there is one, and the tensors that it takes, by name."""
    node = training_node(model)
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
