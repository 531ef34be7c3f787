"""How a directory that is written becomes a version."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_trainsteps.rolling.disk import files, manifest
from keras_trainsteps.rolling.registry import counter, versions


def as_about(
    created: str,
    parent: int | None,
    metrics: Mapping[str, float] | None,
    data_window: tuple[str, str] | None,
    fingerprint: str | None,
) -> dict[str, Any]:
    """What is recorded with a version, as a file gives it back.

    Raises:
        ValueError: For what could not be read again.
    """
    window = list(data_window) if isinstance(data_window, list | tuple) else data_window
    about = {
        "created": created,
        "parent": parent,
        "metrics": dict(metrics or {}),
        "data_window": window,
        "fingerprint": fingerprint,
    }
    try:
        about = json.loads(files.canonical_json(about))
    except TypeError as error:
        raise ValueError(f"`publish` must be given what a file can hold. {error}") from error
    versions.require_about({**about, "version": 1}, "publish")
    return about


def place(stage: Path, directory: Path, about: Mapping[str, Any]) -> int:
    """Renames a stage to the next number; numbers only grow, and none is given twice.

    Files are hashed and synced before; the number is drawn, and the directory renamed, under
    the lock of the registry. So versions appear in the order of their numbers.
    """
    hashed = manifest.hash_and_sync(stage)
    manifest.require_true_below(stage, hashed)
    with files.locked(directory):
        number = counter.last(directory) + 1
        while True:
            given = {**about, "version": number}
            manifest.seal_hashed(stage, versions.KIND, given, hashed)
            if files.rename_new(stage, directory / str(number)):
                break
            number += 1  # something else has that name
        files.sync_directory(directory)
        counter.remember(directory, number)
    return number
