"""The numbers of versions: a counter that only grows."""

from __future__ import annotations

import contextlib
from pathlib import Path

from keras_trainsteps.rolling.disk import fields, files
from keras_trainsteps.rolling.registry import aliases, blessings, versions

FILE = "last_number.json"


def last(base: Path, *, plain: bool = True) -> int:
    """The largest number that was ever given to a version, under the lock of the registry.

    The counter is written after a version is in place, and before one is deleted. What else
    names a version counts as well: a counter that was lost must not begin anew.

    Args:
        base: The directory of the registry.
        plain: Whether a second spelling of a number is refused.
    """
    known = [0]
    with contextlib.suppress(ValueError):  # missing or damaged: the rest must do
        found = files.read_json(base / FILE, "A registry")
        fields.require(found, {"last": fields.COUNT}, FILE)
        known.append(found["last"])
    known += versions.numbers(base) if plain else map(int, versions.like_numbers(base))
    known += [n for name in aliases.names(base) for n in aliases.mentioned(base, name)]
    known += blessings.numbers(base)
    return max(known)


def remember(base: Path, number: int) -> None:
    """Writes down the largest number, under the lock of the registry."""
    files.replace_file(base / FILE, files.canonical_json({"last": number}))
