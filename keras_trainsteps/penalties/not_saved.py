"""What a file holds for an added loss or metric that it cannot hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import tensorflow as tf

from keras_trainsteps.penalties.base import Penalty
from keras_trainsteps.penalties.coefficients import TrainableCoefficient


@keras.saving.register_keras_serializable("keras_trainsteps")
class NotSaved(Penalty):
    """Stands for an added term that is Python code; raises when it is needed.

    Args:
        name: The name of the term.
        description: What the term was.
        coefficients: Its trainable coefficients, which a file does hold.
    """

    def __init__(
        self,
        name: str,
        description: str,
        coefficients: Mapping[str, TrainableCoefficient],
    ) -> None:
        self.name, self.description = name, description
        self.coefficients = dict(coefficients)

    def bind(
        self, weights: list[keras.Variable], coefficients: Mapping[str, keras.Variable]
    ) -> Callable[[], tf.Tensor]:
        raise ValueError(
            f"{self.name!r} was added to the model as {self.description}, which a file does "
            "not hold: without it the loss would be another. Add it again under its name, "
            "or leave it out by `remove_term`, before the model is trained or evaluated."
        )

    def get_config(self) -> dict[str, Any]:
        each = {key: coefficient.get_config() for key, coefficient in self.coefficients.items()}
        return {"name": self.name, "description": self.description, "coefficients": each}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> NotSaved:
        """The term that stood in the file."""
        coefficients = {
            key: TrainableCoefficient.from_config(each)
            for key, each in config["coefficients"].items()
        }
        return cls(config["name"], config["description"], coefficients)
