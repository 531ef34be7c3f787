"""Which versions may be deleted."""

from __future__ import annotations

import warnings
from pathlib import Path

from keras_trainsteps.rolling.registry import aliases, versions


def doomed(base: Path, newest: int) -> list[int]:
    """The versions beyond the newest that no alias points at or would roll back to.

    None, with a warning, while an alias cannot be read: it may be of any version.

    Raises:
        ValueError: For a `newest` below 1.
    """
    if isinstance(newest, bool) or not hasattr(newest, "__index__") or newest < 1:
        raise ValueError(f"`newest` must be at least 1, an integer. Received: {newest!r}.")
    numbers = versions.numbers(base)
    kept = set(numbers[-newest:])
    found, broken = aliases.read_all(base)
    for alias in found.values():
        kept |= {alias.version, *alias.earlier(numbers)[-1:]}
    for name, error in broken.items():
        warnings.warn(f"No version is deleted: alias {name!r}: {error}", stacklevel=4)
        kept |= set(numbers)
    return [number for number in numbers if number not in kept]
