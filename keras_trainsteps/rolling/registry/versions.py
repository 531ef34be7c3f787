"""What a version is on disk: a directory with a plain number for a name, and a manifest."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_trainsteps.rolling.disk import files, manifest

KIND = "version"


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
    found = []
    for name in os.listdir(directory):
        number = _as_number(name)
        if number is None:
            continue
        if name != str(number) or number < 1:
            raise ValueError(
                "Version directories must have plain positive numbers for names. "
                f"Received: {name!r} in `{directory}`, which TensorFlow Serving "
                f"would take for version {number}. Move it out of the registry."
            )
        found.append(number)
    return sorted(found)


def read(path: Path, *, every_file: bool = False) -> Version:
    """The version in a directory.

    Args:
        path: The directory.
        every_file: Whether to check every file against its SHA-256, too.

    Raises:
        ValueError: When the manifest is damaged or of another version; with `every_file`,
            for a file that is missing, added, cut off, changed.
    """
    body = manifest.verify(path, KIND) if every_file else manifest.read(path, KIND)
    about = body["about"]
    if about.get("version") != int(path.name):
        raise ValueError(
            f"`{path}` must hold version {path.name}. Received: the manifest of version "
            f"{about.get('version')}. The directory was copied or renamed by hand."
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


def place(stage: Path, directory: Path, about: Mapping[str, Any]) -> int:
    """Renames a stage to the next free number; the rename decides between writers."""
    number = max(numbers(directory), default=0) + 1
    while True:
        manifest.seal(stage, KIND, {**about, "version": number})
        if files.rename_new(stage, directory / str(number)):
            files.sync_directory(directory)
            return number
        number += 1


def _as_number(name: str) -> int | None:
    """The number that TensorFlow Serving would read from a directory's name."""
    try:
        return int(name) if name.strip().lstrip("+-").isdecimal() else None
    except ValueError:
        return None
