"""What a version is on disk: a directory with a plain number for a name, and a manifest."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_trainsteps.rolling.disk import fields, manifest

KIND = "version"
_FIELDS = {
    "version": fields.NUMBER,
    "created": fields.TEXT,
    "parent": fields.optional(fields.NUMBER),
    "metrics": fields.object_of(fields.REAL),
    "data_window": fields.optional(fields.list_of(fields.TEXT, 2)),
    "fingerprint": fields.optional(fields.TEXT),
}


@dataclasses.dataclass(frozen=True)
class Version:
    """One published version, as `ModelRegistry.get` and `verify` return it.

    Args:
        number: Its number, from 1.
        path: Its directory.
        created: When it was published, in UTC, ISO 8601.
        parent: The version that it was trained on from, or `None`.
        metrics: Numbers recorded with it.
        data_window: First and last of the data that it was trained on, as text.
        fingerprint: SHA-256 of the model's weights, or `None`.
        files: Its files with their sizes, in bytes, and SHA-256.

    Example:

    >>> import tempfile
    >>> from keras_trainsteps.rolling import ModelRegistry
    >>> registry = ModelRegistry(tempfile.mkdtemp())
    >>> number = registry.publish(lambda stage: (stage / "weights").write_text("..."))
    >>> registry.get(number).files["weights"]["bytes"]
    3
    """

    number: int
    path: Path
    created: str
    parent: int | None
    metrics: Mapping[str, float]
    data_window: tuple[str, str] | None
    fingerprint: str | None
    files: Mapping[str, Mapping[str, Any]]


def numbers(directory: Path) -> list[int]:
    """The numbers of all versions in a directory, ascending.

    Raises:
        ValueError: For a directory such as `0007`, which TensorFlow Serving would take
            for version 7.
    """
    for name in (names := like_numbers(directory)):
        require_plain(name, directory)
    return sorted(map(int, names))


def like_numbers(directory: Path) -> list[str]:
    """The names in a directory that TensorFlow Serving would read as numbers."""
    return sorted(name for name in os.listdir(directory) if _as_number(name) is not None)


def require_plain(name: str, directory: Path) -> None:
    """Refuses a second spelling of a number."""
    number = _as_number(name)
    if name != str(number) or number is None or number < 1:
        raise ValueError(
            "Version directories must have plain positive numbers for names. "
            f"Received: {name!r} in `{directory}`, which TensorFlow Serving "
            f"would take for version {number}. Move it out of the registry."
        )


def as_number(value: Any, argument: str) -> int:
    """The number of a version that a caller gave.

    Raises:
        ValueError: For anything but an integer of at least 1.
    """
    integer = not isinstance(value, bool) and hasattr(value, "__index__")
    if not integer or int(value) < 1:
        raise ValueError(
            f"`{argument}` must be the number of a version, an integer of at least 1, or the "
            f"name of an alias. Received: {value!r}, a {type(value).__name__}."
        )
    return int(value)


def require_about(about: Mapping[str, Any], where: object) -> None:
    """Refuses what cannot be recorded with a version, or was not recorded by this library.

    Raises:
        ValueError: For the first entry that is missing or of another kind.
    """
    fields.require(about, _FIELDS, where)


def read(path: Path, *, every_file: bool = False) -> Version:
    """The version in a directory.

    Args:
        path: The directory.
        every_file: Whether to check every file against its SHA-256, too.

    Raises:
        ValueError: When the manifest is damaged or of another version; with `every_file`,
            for a file that is missing, added, cut off, changed.
    """
    if path.is_symlink():
        raise ValueError(
            f"`{path}` must be a directory of the registry. Received: a link. Take another "
            "version; publish a copy of what it leads to."
        )
    body = manifest.verify(path, KIND) if every_file else manifest.read(path, KIND)
    about = body["about"]
    require_about(about, path)
    if about["version"] != int(path.name):
        raise ValueError(
            f"`{path}` must hold version {path.name}. Received: the manifest of version "
            f"{about['version']}. The directory was copied or renamed by hand."
        )
    window = about["data_window"]
    return Version(
        number=about["version"],
        path=path,
        created=about["created"],
        parent=about["parent"],
        metrics=about["metrics"],
        data_window=None if window is None else (window[0], window[1]),
        fingerprint=about["fingerprint"],
        files=body["files"],
    )


def _as_number(name: str) -> int | None:
    """The number that TensorFlow Serving would read from a directory's name."""
    try:
        return int(name) if name.strip().lstrip("+-").isdecimal() else None
    except ValueError:
        return None
