"""What a JSON object must record: checked before it is written, and when it is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple


class Kind(NamedTuple):
    """What a value must be.

    Attributes:
        words: In words.
        holds: Whether a value is it.
    """

    words: str
    holds: Callable[[Any], bool]


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


BOOL = Kind("true or false", lambda value: isinstance(value, bool))
COUNT = Kind("an integer of at least 0", lambda value: _is_int(value) and value >= 0)
NUMBER = Kind("an integer of at least 1", lambda value: _is_int(value) and value >= 1)
REAL = Kind("a number", lambda value: _is_int(value) or isinstance(value, float))
TEXT = Kind("text", lambda value: isinstance(value, str))
OBJECT = Kind("an object", lambda value: isinstance(value, dict))


def optional(kind: Kind) -> Kind:
    """A kind, or null."""
    return Kind(f"{kind.words} or null", lambda value: value is None or kind.holds(value))


def list_of(kind: Kind, length: int | None = None) -> Kind:
    """A list of values of a kind."""
    words = f"a list of {'' if length is None else f'{length} '}values, each {kind.words}"
    return Kind(
        words,
        lambda value: (
            isinstance(value, list)
            and (length is None or len(value) == length)
            and all(map(kind.holds, value))
        ),
    )


def object_of(kind: Kind) -> Kind:
    """An object whose values are of a kind."""
    return Kind(
        f"an object whose values are each {kind.words}",
        lambda value: isinstance(value, dict) and all(map(kind.holds, value.values())),
    )


def record(fields: Mapping[str, Kind]) -> Kind:
    """An object with these fields."""
    return Kind(
        f"an object with {', '.join(fields)}",
        lambda value: (
            isinstance(value, dict)
            and all(name in value and kind.holds(value[name]) for name, kind in fields.items())
        ),
    )


def require(found: Any, fields: Mapping[str, Kind], where: object) -> None:
    """Refuses an object that does not record what it must.

    Args:
        found: The object.
        fields: What it must record, by name.
        where: What it is, for the message.

    Raises:
        ValueError: For the first field that is missing or of another kind.
    """
    if not isinstance(found, Mapping):
        raise ValueError(f"`{where}` must hold a JSON object. Received: {type(found).__name__}.")
    for name, kind in fields.items():
        if name not in found or not kind.holds(found[name]):
            received = repr(found[name])[:200] if name in found else "none"
            raise ValueError(
                f"`{where}` must record `{name}` as {kind.words}. Received: {received}."
            )
