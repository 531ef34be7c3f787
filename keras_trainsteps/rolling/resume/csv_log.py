"""The file of a `CSVLogger`: one line per epoch, none lost and none twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras


def save(logger: keras.callbacks.CSVLogger) -> dict[str, Any]:
    """What its file holds now, and the names of its columns."""
    path = Path(logger.filename)
    lines = path.read_bytes().decode() if path.exists() else ""
    return {"lines": lines, "keys": logger.keys}


def restore(logger: keras.callbacks.CSVLogger, saved: dict[str, Any]) -> None:
    """Makes its file, which Keras has opened and emptied, hold what it held."""
    file = logger.csv_file
    file.seek(0)
    file.truncate()
    file.write(saved["lines"])
    file.flush()
    logger.keys, logger.writer = saved["keys"], None
    logger.append_header = not saved["lines"]
