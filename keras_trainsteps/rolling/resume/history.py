"""The logs of the epochs that are done, as JSON values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras


def save_history(history: keras.callbacks.History) -> dict[str, Any]:
    """What a `History` holds; names with their values in pairs, which keeps their order."""
    logs = [[name, [float(v) for v in values]] for name, values in history.history.items()]
    return {"epochs": list(history.epoch), "logs": logs}


def restore_history(history: keras.callbacks.History, saved: Mapping[str, Any]) -> None:
    """Makes a `History` that has begun hold what another one held."""
    history.epoch[:] = saved["epochs"]
    history.history.clear()
    history.history.update({name: list(values) for name, values in saved["logs"]})
