"""What each layer of a model computes, as JSON, to compare two models by."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import keras

from keras_trainsteps.structure.names import layer_names, names_of_classes
from keras_trainsteps.structure.network import is_graph, network_layers, network_of

# What of a layer's config has no part in what it computes from its weights.
_TRAINING_ONLY = re.compile(
    r"name|trainable|seed|vocabulary|vocabulary_size|max_tokens|idf_weights|build_config"
    r"|quantization_config"
    r"|.*(initializer|regularizer|constraint)"
)
# What has no part in how it is trained from there on, either: begins, and random states.
_BEGIN_ONLY = re.compile(r"name|seed|build_config|.*initializer")
_NOISE_LAYERS = re.compile(r".*(Dropout|GaussianNoise)\w*")


def graph_signatures(
    model: keras.Model, *, training: bool = False
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """What each node of a Functional or Sequential model computes, and its name here.

    Args:
        model: The model.
        training: Whether with what only training needs: rates of noise, regularizers.
    """
    nested = {layer.name for layer in model.layers if is_graph(layer)}
    if isinstance(model, keras.Sequential):
        layers = network_layers(model)
        names = layer_names(layers)
        before, signatures = "(input)", {}
        for layer in layers:
            signatures[names[layer.name]] = {
                **layer_signature(layer, training=training),
                "called_on": before,
            }
            before = names[layer.name]
        return {**signatures, "(outputs)": {"called_on": before}}, names
    config = network_of(model).get_config()
    entries = config["layers"]
    names = names_of_classes([(entry["name"], entry["class_name"]) for entry in entries])
    signatures = {}
    for entry in entries:
        inner = {} if entry["name"] in nested else entry["config"]
        signatures[names[entry["name"]]] = {
            "class": entry.get("registered_name") or entry["class_name"],
            "config": _computing(inner, entry["class_name"], training),
            "called_on": _plain(_called_on(entry["inbound_nodes"], names)),
        }
    ends = {key: config[key] for key in ("input_layers", "output_layers")}
    for key, value in ends.items():
        signatures[f"({key.split('_')[0]}s)"] = {"called_on": _plain(_renamed(value, names))}
    return signatures, names


def layer_signature(layer: keras.layers.Layer, *, training: bool = False) -> dict[str, Any]:
    """The class and config of a layer, without what only naming, or training, needs."""
    kind = keras.saving.get_registered_name(type(layer))
    if is_graph(layer):
        return {"class": kind, "config": {}}
    try:
        config = keras.saving.serialize_keras_object(layer.get_config())
    except (NotImplementedError, ValueError, TypeError):
        config = {}  # a layer without a config: its weights and children are compared
    return {"class": kind, "config": _computing(config, type(layer).__name__, training)}


def _computing(config: Any, kind: str, training: bool) -> Any:
    left_out = _BEGIN_ONLY if training else _TRAINING_ONLY
    noise = not training and _NOISE_LAYERS.fullmatch(kind) is not None

    def strip(value: Any) -> Any:
        if isinstance(value, Mapping):
            if str(value.get("class_name", "")).endswith("DTypePolicy"):
                return value  # of which the name is all there is
            return {
                key: strip(item)
                for key, item in value.items()
                if not left_out.fullmatch(str(key)) and not (noise and key in ("rate", "stddev"))
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


def _plain(value: Any) -> Any:
    """A value as JSON gives it back."""
    return json.loads(json.dumps(value, sort_keys=True, default=str))
