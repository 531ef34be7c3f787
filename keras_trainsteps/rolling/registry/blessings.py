"""The recorded outcomes of the gate, one file per version."""

from __future__ import annotations

import json
import os
from pathlib import Path

from keras_trainsteps.rolling.disk import files
from keras_trainsteps.rolling.registry.blessing import Blessing

FOLDER = "blessings"


def path_of(base: Path, number: int) -> Path:
    """The file of the blessing of a version."""
    return base / FOLDER / f"{number}.json"


def numbers(base: Path) -> list[int]:
    """The versions of which there is one."""
    folder = base / FOLDER
    names = os.listdir(folder) if folder.is_dir() else []
    found = [name.removesuffix(".json") for name in names if name.endswith(".json")]
    return sorted(int(name) for name in found if name.isascii() and name.isdecimal())


def read(base: Path, number: int) -> Blessing:
    """The recorded blessing of a version.

    Raises:
        ValueError: When there is none, or it is damaged.
    """
    path = path_of(base, number)
    if not os.path.lexists(path):
        raise ValueError(
            f"Version {number} must have been through the gate. Received: no recorded "
            "blessing. Compare it by `evaluate_candidate`, and `save_blessing`."
        )
    return Blessing.from_json(files.read_json(path, "A version with a blessing"))


def write(base: Path, number: int, blessing: Blessing) -> None:
    """Records a blessing.

    Raises:
        ValueError: For one that could not be read again.
    """
    content = files.canonical_json(blessing.to_json())
    Blessing.from_json(json.loads(content))
    (base / FOLDER).mkdir(exist_ok=True)
    files.replace_file(path_of(base, number), content)
