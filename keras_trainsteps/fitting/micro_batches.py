"""What `micro_batch_size` of `compile` must be, and what it cannot do anything for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from keras_trainsteps.step.micro_batches import MicroBatches
from keras_trainsteps.step.objective import Objective


def as_micro_batches(
    size: Any, alone: Iterable[str], objectives: Mapping[str, Objective]
) -> MicroBatches | None:
    """How the network sees a batch; `None` for whole.

    Args:
        size: The `micro_batch_size` of `compile`.
        alone: Its `per_micro_batch`.
        objectives: Those of the model, if it names them.
    """
    names = (alone,) if isinstance(alone, str) else tuple(alone)
    if not all(isinstance(name, str) for name in names):
        raise TypeError(f"`per_micro_batch` must be names of layers. Received: {names!r}.")
    if size is None:
        if names:
            raise ValueError(
                f"`per_micro_batch` goes with a `micro_batch_size`. Received: {list(names)} "
                "without it."
            )
        return None
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise ValueError(
            "`micro_batch_size` must be `None`, or a number of rows of at least 1. Received: "
            f"{size!r}."
        )
    if objectives and not any(each.takes_output for each in objectives.values()):
        raise ValueError(
            "`micro_batch_size` is for objectives whose losses take `y_pred`, the output of "
            f"`call`. Received: {size} for {list(objectives)}, which call their networks "
            "themselves. Compile without it."
        )
    return MicroBatches(size, names)


def require_layers_of(names: Iterable[str], layers: Iterable[Any]) -> None:
    """Refuses names of `per_micro_batch` that no layer has."""
    known = {layer.name for layer in layers}
    unknown = sorted(set(names) - known)
    if unknown:
        raise ValueError(
            "`per_micro_batch` must name layers of the model. Received: "
            f"{unknown}, where there are {sorted(known)}."
        )
