"""A loss function bound to its options and to the names of what it reads: for `compile`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import keras
import tensorflow as tf

from keras_trainsteps.step.side_input_loss import SideInputLoss
from keras_trainsteps.step.side_inputs import pick
from keras_trainsteps.step.terms import LossTerm


class BoundLoss(SideInputLoss):
    """A function that returns a `LossTerm`, as an object for `compile(loss=...)`.

    A subclass sets `function`, and its constructor says which arguments of the function are
    read from side inputs. What is left of the function's arguments are options, which are
    checked when the object is made.

    Args:
        reads: For each argument that may come from a side input, the name of that side
            input, or `None` where it does not.
        options: The options of the function, by name.
        name: The name of the loss. Default: that of the function.

    Raises:
        TypeError: For an option that the function does not have, or that is a variable or
            a tensor.
        ValueError: For an option that the function refuses.
    """

    function: ClassVar[Callable[..., LossTerm]]

    def __init__(
        self, reads: Mapping[str, str | None], options: dict[str, Any], *, name: str | None
    ) -> None:
        function = type(self).function
        super().__init__(name=name or function.__name__)
        self.reads, self.options = dict(reads), options
        example = self.example()
        given = {*example, *reads, "sample_weight"}
        known = [name for name in inspect.signature(function).parameters if name not in given]
        unknown = sorted(set(options) - set(known))
        if unknown:
            raise TypeError(
                f"`{type(self).__name__}` has the options {known}. Received: {unknown}."
            )
        for option, value in options.items():
            if isinstance(value, keras.Variable) or tf.is_tensor(value):
                raise TypeError(
                    f"`{option}` must be a plain value: Keras trains no weight inside of a "
                    f"loss object, and saves none. Received: {type(value).__name__}. To "
                    "train it, make it a weight of the model and call "
                    f"`losses.{function.__name__}` in `compute_losses`."
                )
        # A batch without a row shows whether the options are right, before any training.
        function(**example, **options)

    def example(self) -> dict[str, tf.Tensor]:
        """What the function takes of targets and outputs, for a batch without a row."""
        return {"y_true": tf.zeros((0, 1)), "y_pred": tf.zeros((0, 1))}

    def arguments(self, y_true: Any, y_pred: Any) -> dict[str, Any]:
        """What the function takes of the targets and outputs of a batch."""
        if y_true is None and self.reads.get("y_true") is None:
            raise ValueError(
                f"`y` must be given: `{type(self).__name__}` compares the outputs with "
                "targets. Received: a batch without targets. Pass `y` to `fit`."
            )
        return {"y_true": y_true, "y_pred": y_pred}

    @property
    def side_inputs(self) -> tuple[str, ...]:
        return tuple(name for name in self.reads.values() if name is not None)

    def term(self, y_true: Any, y_pred: Any, x: Any, sample_weight: Any) -> LossTerm:
        """The loss of a batch whose `x` dict is `x`."""
        read = {
            argument: pick(x, name) for argument, name in self.reads.items() if name is not None
        }
        if sample_weight is not None and "sample_weight" in read:
            raise ValueError(
                "`sample_weight` must be given once. Received: weights beside the targets, "
                f"and the side input {self.reads['sample_weight']!r}."
            )
        given = {"sample_weight": sample_weight, **self.arguments(y_true, y_pred), **read}
        return type(self).function(**given, **self.options)

    def get_config(self) -> dict[str, Any]:
        options = {
            name: keras.saving.serialize_keras_object(value)
            for name, value in self.options.items()
        }
        return {**self.reads, "name": self.name, **options}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> BoundLoss:
        """The loss with these arguments."""
        return cls(
            **{
                name: keras.saving.deserialize_keras_object(value)
                if isinstance(value, dict)
                else value
                for name, value in config.items()
            }
        )
