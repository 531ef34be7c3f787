"""What a penalty is: a function of weights, with coefficients of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_trainsteps.penalties.coefficients import TrainableCoefficient
from keras_trainsteps.validation import repr_of


class Penalty:
    """Base of what `LossAwareModel.add_loss` takes besides functions and tensors.

    A penalty holds options alone. The model that it is added to finds the weights and
    creates the coefficients, so one penalty may be added to several models.

    Attributes:
        weights: What it reads: layers, variables or paths, as in `WeightPenalty`.
        coefficients: The trainable coefficients that the model creates for it, by name.

    Example:

    >>> from keras_trainsteps import LossAwareModel
    >>> @keras.saving.register_keras_serializable("mine")
    ... class Largest(Penalty):
    ...     weights = ("*kernel",)
    ...     def bind(self, weights, coefficients):
    ...         return lambda: tf.reduce_max(tf.abs(weights[0].value))
    ...     def get_config(self):
    ...         return {}
    >>> inputs = keras.Input((3,))
    >>> ones = keras.layers.Dense(1, kernel_initializer="ones")
    >>> model = LossAwareModel(inputs, ones(inputs))
    >>> model.add_loss(Largest(), name="largest")
    >>> [float(loss) for loss in model.losses]
    [1.0]
    """

    weights: Sequence[Any] = ()
    coefficients: Mapping[str, TrainableCoefficient] = {}

    def bind(
        self, weights: list[keras.Variable], coefficients: Mapping[str, keras.Variable]
    ) -> Callable[[], tf.Tensor]:
        """The function without arguments that gives its value, a scalar."""
        raise NotImplementedError(f"{type(self).__name__} must define `bind`.")

    def term_weights(self, coefficients: Mapping[str, keras.Variable]) -> dict[str, tf.Tensor]:
        """Weights that it gives to other terms of the loss, by name of term."""
        return {}

    def logs(self, name: str, coefficients: Mapping[str, keras.Variable]) -> dict[str, tf.Tensor]:
        """The coefficients as they are logged, by the name they are logged under."""
        return {
            f"{name}_{key}": tf.convert_to_tensor(variable)
            for key, variable in coefficients.items()
        }

    def __repr__(self) -> str:
        return repr_of(self, vars(self))

    def get_config(self) -> dict[str, Any]:
        """The options, without `weights`: the model saves where the weights are."""
        raise NotImplementedError(f"{type(self).__name__} must define `get_config`.")

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Penalty:
        """The penalty with these options."""
        return cls(**config)


def is_registered(function: Any) -> bool:
    """Whether Keras can save a function by its name."""
    name = keras.saving.get_registered_name(function)
    return keras.saving.get_registered_object(name) is function
