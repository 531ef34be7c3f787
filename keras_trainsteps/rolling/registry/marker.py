"""What says that a directory is a registry: a small file with the format."""

from __future__ import annotations

import os
from pathlib import Path

from keras_trainsteps.rolling.disk import files

MARKER = "registry.json"
_FORMAT = "keras_trainsteps.registry"
_FORMAT_VERSION = 1


def require(directory: Path) -> None:
    """Makes a missing or empty directory a registry; refuses any other that is none.

    Raises:
        ValueError: When the directory holds something else, or a registry of a format
            that is not known.
    """
    if not directory.exists() or is_empty(directory):
        directory.mkdir(parents=True, exist_ok=True)
        about = {"format": _FORMAT, "format_version": _FORMAT_VERSION}
        files.replace_file(directory / MARKER, files.canonical_json(about))
    path = directory / MARKER
    if not path.is_file():
        raise ValueError(
            "`directory` must be a registry, empty or missing. Received: "
            f"`{directory}`, which holds other things and no `{MARKER}`. Take a directory "
            "of its own."
        )
    found = files.read_json(path, "A registry")
    format_ = (found.get("format"), found.get("format_version"))
    if format_ != (_FORMAT, _FORMAT_VERSION):
        raise ValueError(
            f"`{path}` must be of format {_FORMAT!r}, version {_FORMAT_VERSION}. "
            f"Received: {format_}. Open it with the version of keras_trainsteps that "
            "made it, or upgrade."
        )


def is_empty(directory: Path) -> bool:
    """Whether a directory holds nothing but what is being written."""
    return directory.is_dir() and all(
        name.startswith(files.STAGE) for name in os.listdir(directory)
    )
