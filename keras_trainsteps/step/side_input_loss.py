"""The base of losses that are given to `compile` and read side inputs."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, ClassVar

import keras

from keras_trainsteps.step.terms import LossTerm


class SideInputLoss(keras.losses.Loss):
    """Base of losses for `compile(loss=...)` that read side inputs, or several outputs.

    A subclass names its side inputs in the constructor and fills `term`.

    Attributes:
        reads_all_outputs: Whether `term` gets the whole structure of the network's outputs,
            and of the targets, instead of one output and its target. Default: not.
    """

    reads_all_outputs: ClassVar[bool] = False

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name=name)

    @property
    def side_inputs(self) -> tuple[str, ...]:
        """The names of the entries of `x` that `term` reads."""
        return ()

    def term(
        self, y_true: Any, y_pred: Any, x: Mapping[str, Any], sample_weight: Any
    ) -> LossTerm:
        """The loss of a batch whose `x` dict is `x`; targets and weights may be `None`."""
        raise NotImplementedError(f"{type(self).__name__} must define `term`.")

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        raise ValueError(
            f"`{type(self).__name__}` takes a whole batch, which only a `LossAwareModel` "
            "hands to it. Received: a call of `(y_true, y_pred)`. Use it in "
            "`LossAwareModel.compile(loss=...)`, or call its function in "
            "`keras_trainsteps.losses`."
        )

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return self(y_true, y_pred)

    def get_config(self) -> dict[str, Any]:
        options = set(inspect.signature(type(self).__init__).parameters) - {"self", "name"}
        if options:
            raise NotImplementedError(
                f"`{type(self).__name__}` must define `get_config`: without it a saved model "
                f"would lose the options {sorted(options)}. Return them with `name`."
            )
        return {"name": self.name}
