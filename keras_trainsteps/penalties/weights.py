"""Penalties on weights of several layers."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import keras
import tensorflow as tf

from keras_trainsteps.penalties.base import Penalty
from keras_trainsteps.penalties.coefficients import TrainableCoefficient
from keras_trainsteps.step.terms import as_loss
from keras_trainsteps.validation import as_plain, is_number

Weight: TypeAlias = keras.layers.Layer | keras.Variable | str
Weights: TypeAlias = Weight | Sequence[Weight]
"""Layers (their trainable weights of two or more axes), variables, or paths of weights."""


@keras.saving.register_keras_serializable("keras_trainsteps")
class WeightPenalty(Penalty):
    """Any function of weights of several layers, times a coefficient.

    For norms across layers, orthogonality, tied weights, group lasso:

    ```
    penalty = coefficient * fn(weight_1, ..., weight_n)
    ```

    It is computed once a step, is not multiplied by `sample_weight`, and is the same on
    every replica. The model saves it when `fn` is registered with Keras, as those of
    `keras_trainsteps.penalties` are.

    Args:
        fn: A function of the weights, in the order of `weights`, that returns a scalar.
        weights: What it reads: layers (their trainable weights of two or more axes: kernels,
            embeddings), variables, or paths as in `weight.path`, where `*` stands for any
            characters.
        coefficient: A number or a `TrainableCoefficient`. Default 1.

    Raises:
        TypeError: When `fn` cannot be called or `weights` holds something else.
        ValueError: When `weights` is empty or the coefficient is not finite; when the model is
            trained: for weights that it does not have, a value that is no scalar, or
            weights that get no gradient.

    Example:

    >>> from keras_trainsteps import LossAwareModel
    >>> from keras_trainsteps import penalties
    >>> inputs = keras.Input((3,))
    >>> hidden = keras.layers.Dense(2, name="hidden")(inputs)
    >>> model = LossAwareModel(inputs, keras.layers.Dense(1, name="scores")(hidden))
    >>> kernels = ["hidden/kernel", "scores/kernel"]
    >>> penalty = WeightPenalty(penalties.sum_of_norms, weights=kernels, coefficient=0.1)
    >>> model.add_loss(penalty, name="norms")
    >>> model.compile("sgd", loss="mse")
    >>> history = model.fit(np.ones((4, 3)), np.ones((4, 1)), verbose=0)
    >>> sorted(history.history)
    ['loss', 'mse_loss', 'norms']
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        *,
        weights: Weights,
        coefficient: float | TrainableCoefficient = 1.0,
    ) -> None:
        if not callable(fn):
            raise TypeError(
                f"`fn` must be a function of the weights. Received: {type(fn).__name__}."
            )
        self.fn, self.coefficient = fn, as_plain(coefficient)
        self.weights = as_weights(weights)
        self.coefficients = coefficients_of(coefficient)

    def bind(
        self, weights: list[keras.Variable], coefficients: Mapping[str, keras.Variable]
    ) -> Callable[[], tf.Tensor]:
        _require_arguments(self.fn, weights)

        def value() -> tf.Tensor:
            values = [tf.convert_to_tensor(weight) for weight in weights]
            factor = factor_of(self.coefficient, coefficients)
            return factor * as_loss(tf.convert_to_tensor(self.fn(*values)))

        return value

    def get_config(self) -> dict[str, Any]:
        return {
            "fn": keras.saving.serialize_keras_object(self.fn),
            "coefficient": keras.saving.serialize_keras_object(self.coefficient),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> WeightPenalty:
        """The penalty with these options; its weights are those the model saved."""
        read = keras.saving.deserialize_keras_object
        penalty = cls.__new__(cls)
        penalty.fn, penalty.coefficient = read(config["fn"]), read(config["coefficient"])
        penalty.coefficients = coefficients_of(penalty.coefficient)
        return penalty


def as_weights(weights: Weights) -> tuple[Weight, ...]:
    """Layers, variables and paths as a tuple."""
    single = isinstance(weights, (str, keras.layers.Layer, keras.Variable))
    found = (weights,) if single else tuple(weights)
    if not found:
        raise ValueError("`weights` must name what the penalty reads. Received: none.")
    for item in found:
        if not isinstance(item, (str, keras.layers.Layer, keras.Variable)):
            raise TypeError(
                "`weights` must hold layers, variables or paths of weights. "
                f"Received: {type(item).__name__}."
            )
    return found


def coefficients_of(coefficient: Any) -> dict[str, TrainableCoefficient]:
    """The trainable coefficients of a penalty with this `coefficient`."""
    if isinstance(coefficient, TrainableCoefficient):
        return {"coefficient": coefficient}
    if not is_number(coefficient) or not math.isfinite(coefficient):
        raise ValueError(
            "`coefficient` must be a finite number or a `TrainableCoefficient`. "
            f"Received: {coefficient!r}."
        )
    return {}


def factor_of(coefficient: Any, coefficients: Mapping[str, keras.Variable]) -> tf.Tensor:
    """The coefficient as a tensor."""
    trained = coefficients.get("coefficient")
    return as_loss(tf.convert_to_tensor(coefficient if trained is None else trained))


def _require_arguments(fn: Callable[..., Any], weights: list[keras.Variable]) -> None:
    try:
        inspect.signature(fn).bind(*weights)
    except TypeError as error:
        raise ValueError(
            f"`fn` must take the {len(weights)} weights that `weights` stands for. Received: "
            f"`{getattr(fn, '__name__', fn)}{inspect.signature(fn)}` for "
            f"{[weight.path for weight in weights]}."
        ) from error
