"""One loss or metric that was added to a model: what it may be, and what a file holds of it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias

import keras
import tensorflow as tf

from keras_trainsteps.penalties.base import Penalty, is_registered
from keras_trainsteps.penalties.not_saved import NotSaved

Kind = Literal["loss", "metric"]

AddedLoss: TypeAlias = Penalty | keras.KerasTensor | Callable[[], Any] | float
"""What `add_loss` takes: a penalty, a tensor of the graph, a function of weights, a number."""

AddedMetric: TypeAlias = keras.KerasTensor | Callable[[], Any] | tf.Tensor
"""What `add_metric` takes: a tensor of the graph or of `call`, a function."""


class AddedTerm:
    """One added loss or metric.

    Args:
        name: What it is logged as. A loss that was given no name is part of `regularization`.
        kind: `"loss"` or `"metric"`.
        source: What gives its value: a `Penalty`, a function without arguments, a number,
            or `None` for a tensor of the model's graph.
        is_named: Whether the user gave the name.
        places: Where the weights of a loaded `Penalty` are.
    """

    def __init__(
        self, name: str, kind: Kind, source: Any, is_named: bool, places: Any = None
    ) -> None:
        self.name, self.kind, self.source, self.is_named = name, kind, source, is_named
        self.places = places
        self.function: Callable[[], Any] | None = None

    @property
    def is_symbolic(self) -> bool:
        """Whether its value is a tensor of the graph."""
        return self.source is None

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor; `NotSaved` for code that a file cannot hold."""
        return {
            "name": self.name,
            "kind": self.kind,
            "source": keras.saving.serialize_keras_object(self._saved_source()),
            "is_named": self.is_named,
            "places": self.places,
        }

    def _saved_source(self) -> Any:
        function = getattr(self.source, "fn", self.source)
        if isinstance(self.source, NotSaved):  # of a loaded model that is saved once more
            description = self.source.description
        elif not callable(function) or is_registered(function):
            return self.source
        else:
            description = f"the Python function `{getattr(function, '__name__', function)}`"
        warnings.warn(
            f"Added {self.kind} {self.name!r} is not saved: it is {description}. A model that "
            "is loaded or cloned needs it added again before it is trained. To have it saved, "
            "decorate the function with `@keras.saving.register_keras_serializable()` and "
            "add it by `penalties.WeightPenalty`.",
            stacklevel=2,
        )
        return NotSaved(self.name, description, getattr(self.source, "coefficients", {}))

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> AddedTerm:
        """The term with these arguments."""
        source = config["source"]
        if isinstance(source, Mapping):
            source = keras.saving.deserialize_keras_object(source)
        return cls(**{**config, "source": source})


def require_source(kind: Kind, source: Any, functional: bool) -> None:
    """Refuses what can be no source of a term of a model with, or without, a graph."""
    if isinstance(source, keras.KerasTensor):
        if not functional:
            raise ValueError(
                "A `KerasTensor` can be added to a Functional model, of whose graph it is "
                f"a part. Received: {source} for a model without such a graph. Compute it "
                "in `call`, and add it there."
            )
        return
    if isinstance(source, Penalty) and kind == "loss":
        return
    if tf.is_tensor(source) or isinstance(source, (keras.Variable, tf.Variable)):
        raise TypeError(
            f"`add_{kind}` outside `call` takes no tensor: its value would stay what it is "
            f"now and train nothing. Received: {type(source).__name__} of shape "
            f"{tuple(source.shape)}. Pass a function that computes it: "
            f"`add_{kind}(lambda: ...)`."
        )
    if callable(source) and not isinstance(source, keras.layers.Layer):
        return
    if kind == "loss" and isinstance(source, (int, float)):
        return
    raise TypeError(
        f"`add_{kind}` takes a function without arguments or a `KerasTensor`"
        f"{', a `penalties.Penalty` or a number' if kind == 'loss' else ''}. "
        f"Received: {type(source).__name__}."
    )
