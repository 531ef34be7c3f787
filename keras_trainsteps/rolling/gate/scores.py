"""The scores of a model, one per row, and whether they are scores at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from keras_trainsteps.metrics.bootstrap import Floats
from keras_trainsteps.rolling.registry.blessing import Check


def scores_of(model: keras.Model, x: Any, rows: int, batch_size: int) -> Floats:
    """What a model predicts, float64.

    Raises:
        ValueError: For a model that gives another number of scores than one per row.
    """
    given = _network_entries(model, x) if isinstance(x, Mapping) else x
    predicted = model.predict(given, batch_size=batch_size, verbose=0)
    scores: Floats = np.asarray(predicted, dtype="float64").reshape(-1)
    if len(scores) != rows:
        raise ValueError(
            "A model must give one score per row. Received: shape "
            f"{np.shape(predicted)} for {rows} rows."
        )
    return scores


def check_scores(scores: Floats) -> list[Check]:
    """Scores must be finite and, but for a single row, not all alike."""
    finite = np.isfinite(scores)
    share = float(np.mean(finite))
    checks = [Check("finite scores", bool(finite.all()), share, "all")]
    if finite.all():
        spread = float(np.ptp(scores))
        checks.append(Check("scores differ", spread > 0 or len(scores) == 1, spread, "> 0"))
    return checks


def _network_entries(model: keras.Model, x: Mapping[str, Any]) -> Any:
    """What of `x` a network takes, by name: with more entries Keras mixes them up.

    It takes those of a dict with extra keys in alphabetical order (keras#23258).
    """
    names = [tensor.name for tensor in getattr(model, "inputs", None) or ()]
    declared = model.input if names and not isinstance(model, keras.Sequential) else None
    if isinstance(declared, Mapping):
        names = list(declared)
    if not names or not all(name in x for name in names):
        return x
    if len(names) == 1 and not isinstance(declared, Mapping):
        return x[names[0]]
    return {name: x[name] for name in names}
