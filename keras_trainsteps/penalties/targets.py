"""Which weights of a model a penalty reads."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Mapping, Sequence
from typing import Any

import keras


def resolve(
    asked: Sequence[Any], weights: Sequence[keras.Variable], model_name: str
) -> list[keras.Variable]:
    """Those of `weights` that layers, variables and paths stand for, in their order."""
    found = [weight for item in asked for weight in _of_item(item, weights)]
    known = {id(weight) for weight in weights}
    foreign = [weight.path for weight in found if id(weight) not in known]
    if foreign:
        raise ValueError(
            f"`weights` must name weights of the model {model_name!r}. Received: {foreign}, "
            "which are not among them. Pass layers of this model."
        )
    return found


def locate(
    targets: Sequence[keras.Variable], named: Mapping[str, keras.Variable]
) -> list[dict[str, Any]]:
    """Where these weights are among the `named` ones of a model, for a file."""
    names = {id(weight): name for name, weight in named.items()}
    return [{"name": names[id(target)], "shape": list(target.shape)} for target in targets]


def located(
    places: Sequence[Mapping[str, Any]], named: Mapping[str, keras.Variable], model_name: str
) -> list[keras.Variable]:
    """The weights of a model loaded or cloned from the one that `locate` was asked about."""
    found = []
    for place in places:
        weight = named.get(place["name"])
        if weight is None or list(weight.shape) != list(place["shape"]):
            raise ValueError(
                f"A penalty of {model_name!r} reads the weight {place['name']!r} of shape "
                f"{tuple(place['shape'])}, which the model does not have. Received: a model "
                f"with {sorted(named)}. Remove the penalty by `remove_term`, and add it again."
            )
        found.append(weight)
    return found


def _of_item(item: Any, weights: Sequence[keras.Variable]) -> list[keras.Variable]:
    if isinstance(item, keras.Variable):
        return [item]
    if isinstance(item, keras.layers.Layer):
        matrices = [weight for weight in item.trainable_weights if len(weight.shape) > 1]
        if not matrices:
            raise ValueError(
                "A layer in `weights` stands for its trainable weights of two or more axes. "
                f"Received: layer {item.name!r}, which has none. Pass the variable itself."
            )
        return matrices
    if isinstance(item, str):
        matched = [weight for weight in weights if fnmatch.fnmatchcase(weight.path, item)]
        if not matched:
            paths = [weight.path for weight in weights]
            near = difflib.get_close_matches(item, paths, n=3, cutoff=0.3) or paths[:10]
            raise ValueError(
                f"`weights` names {item!r}, which matches no weight. Near names: {near}. "
                "`*` stands for any characters."
            )
        return matched
    raise TypeError(
        "`weights` must hold layers, variables or paths of weights. "
        f"Received: {type(item).__name__}."
    )
