"""Adding losses and metrics to a model one by one, and removing them."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from keras_trainsteps import compat
from keras_trainsteps.added import graph
from keras_trainsteps.added.layer import AddedTerms
from keras_trainsteps.added.term import AddedTerm, Kind, require_source
from keras_trainsteps.penalties.base import Penalty
from keras_trainsteps.step import names
from keras_trainsteps.step.terms import named_loss
from keras_trainsteps.structure.network import network_output

_FOR_NEW_OPTIMIZER = (
    "What changes the trainable weights must be added or removed before the optimizer has "
    "seen them. Received: {received}. Do it before `fit`, or `compile` with a new optimizer "
    "first."
)


def terms_of(model: keras.Model) -> AddedTerms | None:
    """The layer of what was added to a model, once there is one."""
    return next((layer for layer in model.layers if isinstance(layer, AddedTerms)), None)


def all_terms_of(model: keras.Model) -> list[AddedTerms]:
    """Those of a model and of the models inside it."""
    return [layer for layer in compat.sublayers(model) if isinstance(layer, AddedTerms)]


def add_in_call(model: keras.Model, losses: list[Any], name: str | None) -> None:
    """Adds the losses of one forward pass."""
    for loss in losses:
        tensor = tf.convert_to_tensor(loss() if callable(loss) else loss)
        keras.layers.Layer.add_loss(model, tensor if name is None else named_loss(tensor, name))


def add(model: keras.Model, kind: Kind, source: Any, name: str | None) -> None:
    """Adds a term, or raises and changes nothing."""
    functional = isinstance(model, compat.functional_class())
    require_source(kind, source, functional)
    present = terms_of(model)
    layer = present or AddedTerms()
    missing = next((term for term in layer.missing if _fills(term, kind, name)), None)
    term_name = missing.name if missing else _name_for(name, source, layer)
    symbolic = isinstance(source, keras.KerasTensor)
    term = AddedTerm(term_name, kind, None if symbolic else source, name is not None)
    if kind == "loss":
        _require_optimizer_takes(model, source, missing)
    layer.belongs_to(model)
    if missing:
        layer.replace(missing, term)
    else:
        layer.add(term)
    try:
        if model.built and model.weights and not symbolic:
            layer.function(term)  # refuses what could not train
        if functional and (symbolic or present is None):
            tensors = graph.added(model)[1]
            _put_into_graph(
                model, layer, {**tensors, **({term_name: source} if symbolic else {})}
            )
    except Exception:
        if missing:
            layer.replace(term, missing)
        else:
            layer.remove(term_name)
        raise
    if terms_of(model) is None:
        _attach(model, layer)


def remove(model: keras.Model, name: str) -> None:
    """Removes what was added under `name`.

    Raises:
        ValueError: For a name under which nothing was added.
    """
    layer = terms_of(model)
    present = [term.name for term in layer.terms] if layer else []
    if layer is None or name not in present:
        raise ValueError(
            f"`name` must be one under which something was added. Received: {name!r}, "
            f"of {present}."
        )
    _require_optimizer_takes(model, layer.named(name).source, None)
    if isinstance(model, compat.functional_class()):
        tensors = graph.added(model)[1]
        if name in tensors:
            _put_into_graph(model, layer, {k: v for k, v in tensors.items() if k != name})
    layer.remove(name)


def adopt_graph(model: keras.Model) -> None:
    """Takes over the terms of a graph that was loaded or cloned."""
    if not isinstance(model, compat.functional_class()):
        return
    layer, _ = graph.added(model)
    if layer is None:
        return
    outputs = keras.tree.flatten(network_output(model))
    model.output_names = [compat.layer_of(tensor).name for tensor in outputs]
    layer.belongs_to(model)


def restore(model: keras.Model, saved: list[dict[str, Any]]) -> None:
    """Adds the terms of a file that the constructor has not added already."""
    layer = terms_of(model)
    known = {term.name for term in layer.terms} if layer else set()
    new = [AddedTerm.from_config(config) for config in saved if config["name"] not in known]
    if layer is None:
        layer = AddedTerms()
        _attach(model, layer)
    for term in new:
        layer.add(term)
    layer.belongs_to(model)


def _attach(model: keras.Model, layer: AddedTerms) -> None:
    """Makes `layer` a layer of a model without a graph of its own."""
    if isinstance(model, keras.Sequential):
        model.add(layer)
        return
    with compat.unlocked(model):
        model.added_terms = layer


def _put_into_graph(
    model: keras.Model, layer: AddedTerms, symbolic: dict[str, keras.KerasTensor]
) -> None:
    """Makes `layer` the last of the graph, with these tensors beside the outputs."""
    output_names = list(model.output_names)
    extended = graph.extended(model, layer, symbolic)
    if _optimizer_is_built(model):
        before, after = ([w.path for w in _trained(each)] for each in (model, extended))
        if before != after:
            raise ValueError(_FOR_NEW_OPTIMIZER.format(received=f"{after} after {before}"))
    compat.take_graph(model, extended)
    model.output_names = output_names


def _optimizer_is_built(model: keras.Model) -> bool:
    optimizer = getattr(model, "optimizer", None)
    return optimizer is not None and optimizer.built


def _require_optimizer_takes(model: keras.Model, source: Any, missing: AddedTerm | None) -> None:
    wanted = set(source.coefficients) if isinstance(source, Penalty) else set()
    known = set(missing.source.coefficients) if missing else set()
    if wanted - known and _optimizer_is_built(model):
        raise ValueError(_FOR_NEW_OPTIMIZER.format(received="a trainable coefficient"))


def _trained(model: keras.Model) -> list[keras.Variable]:
    """The trainable weights of a graph, in its order."""
    return [weight for layer in model.layers for weight in layer.trainable_weights]


def _fills(missing: AddedTerm, kind: Kind, name: str | None) -> bool:
    """Whether what is added now is what a file did not hold."""
    same = missing.name == name if name is not None else not missing.is_named
    return missing.kind == kind and same


def _name_for(name: str | None, source: Any, layer: AddedTerms) -> str:
    if name is None and isinstance(source, Penalty) and source.coefficients:
        raise ValueError(
            "`name` is needed for a loss with trainable coefficients: they are saved and "
            "logged by it. Received: none."
        )
    return names.for_added(name, {term.name for term in layer.terms})
