"""What a model consists of, by names that do not depend on how often models were built.

Keras numbers layers without a name through the process (`dense_7`), and stores attributes
of a subclassed model by name or by the order of lines in `__init__`, depending on their
first letters (seen in 3.15.1). Here a layer is called by its name or, if Keras named it,
by its class and place; in a class of one's own by the attribute that holds it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from keras_trainsteps import compat
from keras_trainsteps.rolling.scorer import scorer_of

Variables = dict[str, keras.Variable]

# Where Keras keeps its own lists of what other attributes hold (seen in 3.15.1).
_INTERNAL = frozenset(
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
        "_term_log",
        "_compiled_losses",
    ]
)
# What of a layer's config has no part in what it computes from its weights.
_TRAINING_ONLY = re.compile(
    r"name|trainable|seed|vocabulary|vocabulary_size|max_tokens|idf_weights|build_config"
    r"|quantization_config"
    r"|.*(initializer|regularizer|constraint)"
)
_NOISE_LAYERS = re.compile(r".*(Dropout|GaussianNoise)\w*")


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


def structure_of(model: keras.Model) -> Structure:
    """The parts of a built model.

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
    _visit(model, "", found, set())
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


def _visit(layer: Any, path: str, found: Structure, seen: set[int]) -> None:
    seen.add(id(layer))
    children = list(_children(layer, path, found))
    for key, child in children:
        if id(child) not in seen:
            here = f"{path}/{key}" if path else key
            found.layers.setdefault(here, _signature(child))
            _visit(child, here, found, seen)
    below = {id(weight) for _, child in children for weight in child.weights}
    own = {id(weight) for weight in layer.weights} - below
    named: dict[int, str] = {}
    for key, value in _held(layer, keras.Variable | keras.random.SeedGenerator | tf.Variable):
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
        held = _held(loss, keras.Variable | tf.Variable) if hasattr(loss, "__dict__") else ()
        for key, _ in held:
            raise ValueError(
                f"`loss` must hold no variables. Received: {key!r} of "
                f"{type(loss).__name__}, which Keras neither trains nor saves. Make it a "
                "weight of the model, `self.add_weight(name=...)`, and use it in "
                "`compute_losses`."
            )


def _children(layer: Any, path: str, found: Structure) -> Iterator[tuple[str, Any]]:
    """The layers that a layer holds, by name."""
    if isinstance(layer, keras.Sequential | compat.functional_class()):
        config, names = _graph(layer)
        prefix = f"{path}/" if path else ""
        for key, signature in config.items():
            found.layers[prefix + key] = signature
        for child in layer.layers:
            yield names[child.name], child
    yield from _held(layer, keras.layers.Layer)
    if not isinstance(layer, keras.Model):
        for index, child in enumerate(getattr(layer, "_layers", ())):
            yield f"layer_{index}", child


def _graph(model: Any) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """What each node of a Functional or Sequential model computes, and its name here."""
    nested = {layer.name for layer in model.layers if _is_graph(layer)}
    if isinstance(model, keras.Sequential):
        names = _names([(layer.name, type(layer).__name__) for layer in model.layers])
        before, signatures = "(input)", {}
        for layer in model.layers:
            signatures[names[layer.name]] = {**_signature(layer), "called_on": before}
            before = names[layer.name]
        return {**signatures, "(outputs)": {"called_on": before}}, names
    config = scorer_of(model).get_config()
    names = _names([(entry["name"], entry["class_name"]) for entry in config["layers"]])
    signatures = {}
    for entry in config["layers"]:
        inner = {} if entry["name"] in nested else entry["config"]
        signatures[names[entry["name"]]] = {
            "class": entry.get("registered_name") or entry["class_name"],
            "config": _computing(inner, entry["class_name"]),
            "called_on": _plain(_called_on(entry["inbound_nodes"], names)),
        }
    ends = {key: config[key] for key in ("input_layers", "output_layers")}
    for key, value in ends.items():
        signatures[f"({key.removesuffix('_layers')}s)"] = {
            "called_on": _plain(_renamed(value, names))
        }
    return signatures, names


def _signature(layer: Any) -> dict[str, Any]:
    """The class and config of a layer, without what only training or naming needs."""
    kind = keras.saving.get_registered_name(type(layer))
    if _is_graph(layer):
        return {"class": kind, "config": {}}
    try:
        config = keras.saving.serialize_keras_object(layer.get_config())
    except (NotImplementedError, ValueError, TypeError):
        config = {}  # a layer without a config: its weights and children are compared
    return {"class": kind, "config": _computing(config, type(layer).__name__)}


def _is_graph(layer: Any) -> bool:
    return isinstance(layer, keras.Sequential | compat.functional_class())


def _computing(config: Any, kind: str) -> Any:
    noise = _NOISE_LAYERS.fullmatch(kind) is not None

    def strip(value: Any) -> Any:
        if isinstance(value, Mapping):
            if str(value.get("class_name", "")).endswith("DTypePolicy"):
                return value  # of which the name is all there is
            return {
                key: strip(item)
                for key, item in value.items()
                if not _TRAINING_ONLY.fullmatch(str(key))
                and not (noise and key in ("rate", "stddev"))
            }
        return [strip(item) for item in value] if isinstance(value, list | tuple) else value

    return _plain(strip(config))


def _called_on(nodes: Any, names: Mapping[str, str]) -> Any:
    """Inbound nodes with the names used here, constants included, shapes left out."""
    if isinstance(nodes, Mapping):
        if "keras_history" in nodes:
            source, *index = nodes["keras_history"]
            return [names.get(source, source), *index]
        return {key: _called_on(value, names) for key, value in nodes.items()}
    if isinstance(nodes, list | tuple):
        return [_called_on(value, names) for value in nodes]
    return nodes


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, list | tuple):
        return [_renamed(item, names) for item in value]
    return names.get(value, value) if isinstance(value, str) else value


def _names(layers: Sequence[tuple[str, str]]) -> dict[str, str]:
    """The names used here: given ones as they are, Keras's own counted from the start."""
    counts: dict[str, int] = {}
    names = {}
    for name, kind in layers:
        base = _snake_case(kind)
        if re.fullmatch(rf"{re.escape(base)}(_\d+)?", name):
            number = counts.get(base, 0)
            counts[base] = number + 1
            names[name] = f"{base}_{number}" if number else base
        else:
            names[name] = name
    return names


def _snake_case(name: str) -> str:
    """As Keras names a layer by its class."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def _held(owner: Any, kind: Any) -> Iterator[tuple[str, Any]]:
    """The objects of a kind that attributes hold, also in lists and dicts, by name."""
    attributes = sorted(vars(owner).items(), key=lambda item: item[0].lstrip("_"))
    for attribute, value in attributes:
        if attribute not in _INTERNAL and not attribute.startswith("_self_"):
            yield from _within(attribute.lstrip("_"), value, kind, depth=4)


def _within(key: str, value: Any, kind: Any, depth: int) -> Iterator[tuple[str, Any]]:
    if isinstance(value, kind):
        yield key, value
    elif depth and isinstance(value, Mapping):
        for name in sorted(value, key=str):
            yield from _within(f"{key}/{name}", value[name], kind, depth - 1)
    elif depth and isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _within(f"{key}/{index}", item, kind, depth - 1)


def _add(variables: Variables, path: str, variable: keras.Variable) -> None:
    name, number = path, 1
    while name in variables and variables[name] is not variable:
        name, number = f"{path}:{number}", number + 1
    variables[name] = variable


def _plain(value: Any) -> Any:
    """A value as JSON gives it back."""
    return json.loads(json.dumps(value, sort_keys=True, default=str))
