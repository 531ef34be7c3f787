"""What the attributes of an object hold, also in lists and dicts, by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from keras_trainsteps import compat

_DEPTH = 4  # of lists and dicts within each other


def held_by(owner: object, kinds: type | tuple[type, ...]) -> Iterator[tuple[str, Any]]:
    """The objects of some classes that attributes hold, in the order of their names.

    Keras's own lists of what other attributes hold are left out.
    """
    attributes = sorted(vars(owner).items(), key=lambda item: item[0].lstrip("_"))
    for attribute, value in attributes:
        if not compat.is_keras_attribute(attribute):
            yield from _within(attribute.lstrip("_"), value, kinds, _DEPTH)


def _within(
    key: str, value: Any, kinds: type | tuple[type, ...], depth: int
) -> Iterator[tuple[str, Any]]:
    if isinstance(value, kinds):
        yield key, value
    elif depth and isinstance(value, Mapping):
        for name in sorted(value, key=str):
            yield from _within(f"{key}/{name}", value[name], kinds, depth - 1)
    elif depth and isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _within(f"{key}/{index}", item, kinds, depth - 1)
