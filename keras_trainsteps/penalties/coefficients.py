"""Coefficients that are trained with the weights of the model."""

from __future__ import annotations

import math
from typing import Any

import keras

from keras_trainsteps.validation import repr_of


@keras.saving.register_keras_serializable("keras_trainsteps")
class Bounds(keras.constraints.Constraint):
    """Keeps a weight between two numbers: `min(max(w, low), high)`.

    Args:
        low: The lower bound.
        high: The upper bound.
    """

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high

    def __call__(self, w: Any) -> Any:
        return keras.ops.clip(w, self.low, self.high)

    def get_config(self) -> dict[str, Any]:
        return {"low": self.low, "high": self.high}


@keras.saving.register_keras_serializable("keras_trainsteps")
class TrainableCoefficient:
    """A coefficient that the optimizer trains: a weight of the model.

    It is saved with the model, restored by its name, counted in `summary()` and logged.
    A bounded one is put back between its bounds after every step, as by a Keras
    constraint. An unbounded coefficient of a penalty that is not negative has no minimum:
    the loss falls without end as the coefficient does.

    Args:
        initial: The value it starts at.
        bounds: Its lowest and highest value. Default `None`: unbounded.

    Raises:
        ValueError: For numbers that are not finite, bounds that are not in order, or an
            initial value outside them.

    Example:

    >>> from keras_trainsteps import LossAwareModel
    >>> from keras_trainsteps.penalties import WeightPenalty, sum_of_norms
    >>> inputs = keras.Input((3,))
    >>> model = LossAwareModel(inputs, keras.layers.Dense(1)(inputs))
    >>> coefficient = TrainableCoefficient(0.5, bounds=(0.1, 1.0))
    >>> penalty = WeightPenalty(sum_of_norms, weights="*kernel", coefficient=coefficient)
    >>> model.add_loss(penalty, name="norm")
    >>> model.compile("sgd", loss="mse")
    >>> history = model.fit(np.ones((4, 3)), np.ones((4, 1)), verbose=0).history
    >>> sorted(history)
    ['loss', 'mse_loss', 'norm', 'norm_coefficient']
    """

    def __init__(self, initial: float, *, bounds: tuple[float, float] | None = None) -> None:
        if not math.isfinite(initial):
            raise ValueError(f"`initial` must be a finite number. Received: {initial!r}.")
        if bounds is not None:
            if len(bounds) != 2 or not all(map(math.isfinite, bounds)) or bounds[0] >= bounds[1]:
                raise ValueError(
                    "`bounds` must be two finite numbers, the lower one first. "
                    f"Received: {bounds!r}. For no bounds leave it out."
                )
            if not bounds[0] <= initial <= bounds[1]:
                raise ValueError(
                    f"`initial` must lie within `bounds`. Received: {initial!r} outside "
                    f"{tuple(bounds)}."
                )
        self.initial = float(initial)
        self.bounds = None if bounds is None else (float(bounds[0]), float(bounds[1]))

    def create(self, layer: keras.layers.Layer, name: str) -> keras.Variable:
        """The weight, created in `layer`."""
        return layer.add_weight(
            shape=(),
            initializer=keras.initializers.Constant(self.initial),
            dtype="float32",
            trainable=True,
            constraint=None if self.bounds is None else Bounds(*self.bounds),
            name=name,
        )

    def __repr__(self) -> str:
        return repr_of(self, self.get_config())

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {"initial": self.initial, "bounds": self.bounds}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> TrainableCoefficient:
        """The coefficient with these arguments."""
        return cls(config["initial"], bounds=config["bounds"] and tuple(config["bounds"]))
