"""The distance to the weights at which training starts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import tensorflow as tf

from keras_trainsteps.penalties.base import Penalty
from keras_trainsteps.penalties.coefficients import TrainableCoefficient
from keras_trainsteps.penalties.weights import (
    Weights,
    as_weights,
    coefficients_of,
    factor_of,
)
from keras_trainsteps.step.terms import as_loss
from keras_trainsteps.validation import as_plain


@keras.saving.register_keras_serializable("keras_trainsteps")
class L2SP(Penalty):
    """Half the squared distance to the starting weights, times a coefficient.

    For fine-tuning and for daily updates: what was learned is given up only for a gain.

    ```
    penalty = coefficient / 2 * sum_w sum_i (w_i - w0_i) ** 2
    ```

    `w0` are the weights at the start of the first `fit` with this penalty (or when
    `model.losses` is first read). They are neither saved nor exported: a loaded model that
    is trained on starts at the weights it was loaded with. To start anew, remove the
    penalty by `remove_term` and add it again.

    Args:
        weights: What is held: layers (their trainable weights of two or more axes), variables,
            or paths, where `*` stands for any characters. Default `("*",)`: all weights.
        coefficient: A number or a `TrainableCoefficient`. Default 0.01, the paper's `alpha`
            at the middle of the range it searched.

    Raises:
        TypeError: When `weights` holds something else.
        ValueError: When `weights` is empty or the coefficient is not finite; when the model is
            trained: for weights that it does not have, or a model that is not built before.

    Example:

    >>> from keras_trainsteps import LossAwareModel
    >>> inputs = keras.Input((3,))
    >>> model = LossAwareModel(inputs, keras.layers.Dense(1)(inputs))
    >>> model.add_loss(L2SP(weights=["*kernel"], coefficient=0.1), name="l2sp")
    >>> [float(loss) for loss in model.losses]
    [0.0]
    >>> model.compile("sgd", loss="mse")
    >>> sorted(model.fit(np.ones((4, 3)), np.ones((4, 1)), verbose=0).history)
    ['l2sp', 'loss', 'mse_loss']

    Reference:
        Li, Grandvalet and Davoine, "Explicit Inductive Bias for Transfer Learning with
        Convolutional Networks", 2018.
    """

    def __init__(
        self, *, weights: Weights = ("*",), coefficient: float | TrainableCoefficient = 0.01
    ) -> None:
        self.weights, self.coefficient = as_weights(weights), as_plain(coefficient)
        self.coefficients = coefficients_of(coefficient)

    def bind(
        self, weights: list[keras.Variable], coefficients: Mapping[str, keras.Variable]
    ) -> Callable[[], tf.Tensor]:
        with tf.init_scope():
            # Variables that no model tracks: constants would be copied into every graph.
            starts = [tf.Variable(weight.value, trainable=False) for weight in weights]
        if any(start.shape != w.shape for start, w in zip(starts, weights, strict=True)):
            # The weights are being created within this very step.
            raise ValueError(
                "`L2SP` needs the weights at which training starts. Received: a model that "
                "is first built by `fit`. Declare its input, or call it on a batch, before."
            )

        def value() -> tf.Tensor:
            squares = [
                tf.reduce_sum(as_loss(tf.math.squared_difference(weight.value, start)))
                for weight, start in zip(weights, starts, strict=True)
            ]
            return factor_of(self.coefficient, coefficients) / 2 * tf.add_n(squares)

        return value

    def get_config(self) -> dict[str, Any]:
        return {"coefficient": keras.saving.serialize_keras_object(self.coefficient)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> L2SP:
        """The penalty with these options; its weights are those the model saved."""
        return cls(coefficient=keras.saving.deserialize_keras_object(config["coefficient"]))
