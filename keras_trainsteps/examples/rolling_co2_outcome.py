"""What `rolling_co2` finds, and its picture shows."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of the weeks that followed each update, in the order of time.

    Attributes:
        dates: The weeks predicted from, one list per update.
        errors: Predicted less observed, in ppm, by model; one array per update.
        promoted: Whether the candidate of each update became champion.
    """

    dates: list[Any]
    errors: dict[str, list[Array]]
    promoted: list[bool]

    def mean_errors(self, name: str) -> list[float]:
        """The mean absolute error of a model after each update."""
        return [float(np.mean(np.abs(errors))) for errors in self.errors[name]]

    def mean_error(self, name: str) -> float:
        """The mean absolute error of a model over all updates."""
        return float(np.mean(self.mean_errors(name)))
