"""A loss function bound to its options and to the names of what it reads: for `compile`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import keras
import tensorflow as tf

from keras_trainsteps.step.side_input_loss import CLASSES, SideInputLoss, Tensors
from keras_trainsteps.step.side_inputs import pick
from keras_trainsteps.step.terms import LossTerm
from keras_trainsteps.validation import as_plain, repr_of


class BoundLoss(SideInputLoss):
    """A function that returns a `LossTerm`, as an object for `compile(loss=...)`.

    A subclass sets `function`, and its constructor hands its arguments to `bind`: they are
    checked when an object is made, and saved with it.

    Attributes:
        function: The function.
        reads: The arguments that name side inputs, each for the function's of that name.
        not_options: Further arguments that the function does not take.
        given: The arguments of the constructor.
    """

    function: ClassVar[Callable[..., LossTerm]]
    reads: ClassVar[tuple[str, ...]] = ()
    not_options: ClassVar[tuple[str, ...]] = ("name",)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "function" in vars(cls):
            CLASSES.setdefault(cls.function, cls.__name__)

    def __init__(self, *, name: str | None = None) -> None:
        self.bind(locals())

    def bind(self, arguments: Mapping[str, Any]) -> None:
        """Takes the arguments of the constructor, which are its `locals()`."""
        function = type(self).function
        left_out = ("self", "__class__")
        self.given = {n: as_plain(v) for n, v in arguments.items() if n not in left_out}
        super().__init__(name=self.given["name"] or function.__name__)
        self.given["name"] = self.name
        for option, value in self.options.items():
            if isinstance(value, keras.Variable) or tf.is_tensor(value):
                raise TypeError(
                    f"`{option}` must be a plain value: Keras trains no weight inside of a "
                    f"loss object, and saves none. Received: {type(value).__name__}. To "
                    "train it, make it a weight of the model and call "
                    f"`losses.{function.__name__}` in `compute_losses`."
                )
        # A batch without a row shows whether the options are right, before any training.
        function(**self.example(), **self.options)

    @property
    def options(self) -> dict[str, Any]:
        """The arguments that are passed on to the function as they are."""
        other = {*self.reads, *self.not_options}
        return {name: value for name, value in self.given.items() if name not in other}

    @property
    def mask(self) -> str | None:
        """The name of the side input with the mask; `None` without one."""
        return self.given.get("mask")

    @property
    def side_inputs(self) -> tuple[str, ...]:
        return tuple(self.given[name] for name in self.reads if self.given[name] is not None)

    def example(self) -> dict[str, tf.Tensor]:
        """What the function takes of targets and outputs, for a batch without a row."""
        return {"y_true": tf.zeros((0, 1)), "y_pred": tf.zeros((0, 1))}

    def arguments(self, y_true: Tensors | None, y_pred: Tensors) -> dict[str, Any]:
        """What the function takes of the targets and outputs of a batch."""
        if y_true is None and self.given.get("y_true") is None:
            raise ValueError(
                f"`y` must be given: `{type(self).__name__}` compares the outputs with "
                "targets. Received: a batch without targets. Pass `y` to `fit`."
            )
        return {"y_true": y_true, "y_pred": y_pred}

    def term(
        self,
        y_true: Tensors | None,
        y_pred: Tensors,
        x: Mapping[str, tf.Tensor],
        sample_weight: Tensors | None,
    ) -> LossTerm:
        names = {argument: self.given[argument] for argument in self.reads}
        read = {argument: pick(x, name) for argument, name in names.items() if name is not None}
        if sample_weight is not None and "sample_weight" in read:
            raise ValueError(
                "`sample_weight` must be given once. Received: weights together with targets, "
                f"and the side input {names['sample_weight']!r}."
            )
        taken = {"sample_weight": sample_weight, **self.arguments(y_true, y_pred), **read}
        return type(self).function(**taken, **self.options)

    def __repr__(self) -> str:
        named = self.name != type(self).function.__name__
        return repr_of(self, {**self.given, "name": self.name if named else None})

    def get_config(self) -> dict[str, Any]:
        write = keras.saving.serialize_keras_object
        return {name: write(value) for name, value in self.given.items()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> BoundLoss:
        """The loss with these arguments."""
        read = keras.saving.deserialize_keras_object
        return cls(**{n: read(v) if isinstance(v, dict) else v for n, v in config.items()})
