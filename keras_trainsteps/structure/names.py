"""Names of layers that do not depend on how many models a process built before."""

from __future__ import annotations

import re
from collections.abc import Sequence

import keras


def layer_names(layers: Sequence[keras.layers.Layer]) -> dict[str, str]:
    """The name of each layer here, by its name in Keras.

    Given names stay. Those that Keras made are counted from the start: `dense_7` is
    `dense` when it is the first such layer.
    """
    return names_of_classes([(layer.name, type(layer).__name__) for layer in layers])


def names_of_classes(layers: Sequence[tuple[str, str]]) -> dict[str, str]:
    """As `layer_names`, of names in Keras with the names of their classes."""
    counts: dict[str, int] = {}
    names = {}
    for name, kind in layers:
        if is_automatic(name, kind):
            base = _snake_case(kind)
            number = counts.get(base, 0)
            counts[base] = number + 1
            names[name] = f"{base}_{number}" if number else base
        else:
            names[name] = name
    return names


def is_automatic(name: str, kind: str) -> bool:
    """Whether Keras may have made the name of an object of a class."""
    return re.fullmatch(rf"{re.escape(_snake_case(kind))}(_\d+)?", name) is not None


def _snake_case(name: str) -> str:
    """As Keras names a layer by its class."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
