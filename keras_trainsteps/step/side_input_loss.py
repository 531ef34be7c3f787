"""The base of losses that are given to `compile` and read side inputs."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeAlias

import keras
import tensorflow as tf

from keras_trainsteps.step.terms import LossTerm

Tensors: TypeAlias = tf.Tensor | Sequence[Any] | Mapping[str, Any]
"""One tensor, or those of several outputs in a list, tuple or dict."""

CLASSES: dict[Any, str] = {}
"""For each function that returns a `LossTerm` the name of its class for `compile`."""


class SideInputLoss(keras.losses.Loss):
    """Base of losses for `compile(loss=...)` that read side inputs, or several outputs.

    A subclass fills `term`, and names the side inputs that it reads.

    Args:
        name: Name of the loss in logs. Default: that of the class, in snake case.

    Attributes:
        reads_all_outputs: Whether `term` gets the whole structure of the network's outputs,
            and of the targets, instead of one output and its target. Default: not.

    Example:

    >>> from keras_trainsteps import LossAwareModel, LossTerm
    >>> class SquaredErrorPerPrice(SideInputLoss):
    ...     side_inputs = ("price",)
    ...     def term(self, y_true, y_pred, x, sample_weight):
    ...         error = tf.square(y_true - y_pred[:, 0]) / x["price"]
    ...         return LossTerm(tf.reduce_sum(error), tf.size(error))
    >>> inputs = keras.Input((2,), name="features")
    >>> model = LossAwareModel(inputs, keras.layers.Dense(1)(inputs))
    >>> model.compile("sgd", loss=SquaredErrorPerPrice())
    >>> x = {"features": np.eye(2), "price": np.array([1.0, 3.0])}
    >>> list(model.fit(x, np.ones(2), verbose=0).history)
    ['loss']
    """

    reads_all_outputs: ClassVar[bool] = False

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name=name)

    @property
    def side_inputs(self) -> tuple[str, ...]:
        """The names of the entries of `x` that `term` reads."""
        return ()

    def term(
        self,
        y_true: Tensors | None,
        y_pred: Tensors,
        x: Mapping[str, tf.Tensor],
        sample_weight: Tensors | None,
    ) -> LossTerm:
        """The loss of a batch.

        Args:
            y_true: Targets, or `None` where there are none.
            y_pred: Outputs of the network.
            x: Inputs and side inputs by name.
            sample_weight: Weights of rows, or `None`.
        """
        raise NotImplementedError(f"{type(self).__name__} must define `term`.")

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        raise ValueError(
            f"`{type(self).__name__}` takes a whole batch, which only a `LossAwareModel` "
            "hands to it. Received: a call of `(y_true, y_pred)`. Use it in "
            "`LossAwareModel.compile(loss=...)`, or call its function in "
            "`keras_trainsteps.losses`."
        )

    def call(self, y_true: Tensors, y_pred: Tensors) -> Any:
        return self(y_true, y_pred)

    def get_config(self) -> dict[str, Any]:
        options = set(inspect.signature(type(self).__init__).parameters) - {"self", "name"}
        if options:
            raise NotImplementedError(
                f"`{type(self).__name__}` must define `get_config`: without it a saved model "
                f"would lose the options {sorted(options)}. Return them with `name`."
            )
        return {"name": self.name}
