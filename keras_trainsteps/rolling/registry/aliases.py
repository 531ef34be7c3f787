"""Names that point at versions, moved in one step."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from keras_trainsteps.rolling.disk import fields, files

FOLDER = "aliases"
_HISTORY = 50
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_FIELDS = {
    "version": fields.NUMBER,
    "previous": fields.list_of(fields.NUMBER),
    "reason": fields.OBJECT,
}


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


def path_of(base: Path, name: str) -> Path:
    """The file of an alias."""
    require_name(name)
    return base / FOLDER / f"{name}.json"


def as_alias(found: Any, where: object) -> Alias:
    """An alias from the JSON object that holds it.

    Raises:
        ValueError: For anything else.
    """
    try:
        fields.require(found, _FIELDS, where)
    except ValueError as error:
        raise ValueError(
            f"{error} Mend it by `python -m keras_trainsteps.rolling repair`, which says "
            "with `--dry-run` what it would do."
        ) from None
    return Alias(found["version"], tuple(found["previous"]), found["reason"])


def read(base: Path, name: str) -> Alias | None:
    """Where an alias points; `None` when it was never set."""
    path = path_of(base, name)
    if not os.path.lexists(path):
        return None
    return as_alias(files.read_json(path, "An alias"), path)


def names(base: Path) -> list[str]:
    """The names of all aliases; files of other names are none."""
    if not (base / FOLDER).is_dir():
        return []
    found = [name for name in sorted(os.listdir(base / FOLDER)) if name.endswith(".json")]
    return [name for name in (n.removesuffix(".json") for n in found) if _NAME.fullmatch(name)]


def read_all(base: Path) -> tuple[dict[str, Alias], dict[str, ValueError]]:
    """All aliases by name, and what is wrong with those that cannot be read."""
    found: dict[str, Alias] = {}
    broken: dict[str, ValueError] = {}
    for name in names(base):
        try:
            alias = read(base, name)
        except ValueError as error:
            broken[name] = error
        else:
            if alias is not None:
                found[name] = alias
    return found, broken


def write(base: Path, name: str, alias: Alias) -> None:
    """Moves an alias: readers see it where it was or where it is now.

    Raises:
        ValueError: For what could not be read again.
    """
    path = path_of(base, name)
    kept = alias._replace(previous=alias.previous[-_HISTORY:])
    content = files.canonical_json(kept._asdict())
    as_alias(json.loads(content), path)
    (base / FOLDER).mkdir(exist_ok=True)
    files.replace_file(path, content)


def move(base: Path, name: str, version: int, reason: dict[str, Any]) -> None:
    """Points an alias at a version, and remembers where it was, as far as it can be read."""
    try:
        now = read(base, name)
    except ValueError:
        now = None
    if now is not None and now.version == version:
        return
    previous = mentioned(base, name) if now is None else (*now.previous, now.version)
    write(base, name, Alias(version, previous, reason))


def mentioned(base: Path, name: str) -> tuple[int, ...]:
    """The versions that the file of an alias names, the latest last, if it is damaged too."""
    path = path_of(base, name)
    try:
        found = files.read_json(path, "An alias")
    except ValueError:
        return ()
    listed = found.get("previous")
    numbers = [*(listed if isinstance(listed, list) else ()), found.get("version")]
    return tuple(number for number in numbers if fields.NUMBER.holds(number))
