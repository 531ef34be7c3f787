"""Names that point at versions, moved in one step."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from keras_trainsteps.rolling.disk import files

FOLDER = "aliases"
_HISTORY = 50
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")


class Alias(NamedTuple):
    """Where an alias points, and where it pointed before.

    Attributes:
        version: The version.
        previous: Earlier versions, the latest last; those rolled back from are left out.
        reason: What moved it last, as JSON values.
    """

    version: int
    previous: tuple[int, ...]
    reason: dict[str, Any]

    def earlier(self, there: Iterable[int]) -> tuple[int, ...]:
        """The versions that it can go back to, of those that are still there."""
        left = set(there) - {self.version}
        return tuple(number for number in self.previous if number in left)


def require_name(name: str) -> None:
    """Refuses what cannot be the name of an alias."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(
            "`alias` must be lower-case letters, digits, `_` and `-`, a letter first: a "
            f"number would be a version. Received: {name!r}. Use e.g. 'challenger'."
        )


def read(base: Path, name: str) -> Alias | None:
    """Where an alias points; `None` when it was never set."""
    require_name(name)
    path = base / FOLDER / f"{name}.json"
    if not path.exists():
        return None
    found = files.read_json(path, "An alias")
    try:
        return Alias(int(found["version"]), tuple(map(int, found["previous"])), found["reason"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"`{path}` must be an alias that this library wrote. Received: keys "
            f"{sorted(found)}. Set the alias again."
        ) from error


def read_all(base: Path) -> dict[str, Alias]:
    """All aliases by name."""
    found: dict[str, Alias] = {}
    if not (base / FOLDER).is_dir():
        return found
    for file in sorted(os.listdir(base / FOLDER)):
        name = file.removesuffix(".json")
        if file.endswith(".json") and not file.startswith(files.STAGE):
            alias = read(base, name)
            if alias is not None:
                found[name] = alias
    return found


def write(base: Path, name: str, alias: Alias) -> None:
    """Moves an alias: readers see it where it was or where it is now."""
    require_name(name)
    (base / FOLDER).mkdir(exist_ok=True)
    kept = alias._replace(previous=alias.previous[-_HISTORY:])
    files.replace_file(base / FOLDER / f"{name}.json", files.canonical_json(kept._asdict()))


def move(base: Path, name: str, version: int, reason: dict[str, Any]) -> None:
    """Points an alias at a version, and remembers where it was."""
    now = read(base, name)
    if now is not None and now.version == version:
        return
    previous = () if now is None else (*now.previous, now.version)
    write(base, name, Alias(version, previous, reason))
