"""`L2SP`: what a new job learns must be worth the distance from where it started."""

from __future__ import annotations

from collections.abc import Iterable

import keras
import tensorflow as tf

from keras_trainsteps.rolling.matching import Patterns
from keras_trainsteps.rolling.scorer import network_layers
from keras_trainsteps.rolling.structure import structure_of


class L2SP:
    """A penalty on the distance of the weights from where they are now ("L2-SP").

    A short window of new data lacks much of what the model has learned before; the penalty
    lets go of it only where the new data ask for that. Made after `warm_start`, it gives
    `alpha / 2 * sum((w - start) ** 2)` over the trainable weights of the network: exactly
    0, with a gradient of 0, at the first step. What the model itself owns (coefficients of
    a loss) is left out.

    The starting values are no weights: they are neither trained nor saved nor exported. A
    job that is resumed after a crash makes the penalty anew, before `fit`, from the same
    warm start.

    Args:
        model: A built model, warm started.
        alpha: The strength, not negative. Too strong an anchor loses what is new: begin
            near 0.01.
        exclude: Paths of weights or layers that may go anywhere, also with `*`.

    Raises:
        ValueError: For a bad `alpha`, or a name in `exclude` that is no weight's.

    Example:

    >>> from keras_trainsteps import LossAwareModel
    >>> class Anchored(LossAwareModel):
    ...     def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
    ...         return {"squared": keras.ops.square(y - y_pred), "anchor": self.anchor()}
    >>> inputs = keras.Input((2,))
    >>> model = Anchored(inputs, keras.layers.Dense(1)(inputs))
    >>> model.anchor = L2SP(model, alpha=0.01)
    >>> float(model.anchor())
    0.0

    Reference: Li, Grandvalet, Davoine, "Explicit Inductive Bias for Transfer Learning with
    Convolutional Networks", ICML 2018.
    """

    def __init__(self, model: keras.Model, *, alpha: float, exclude: Iterable[str] = ()) -> None:
        if not 0 <= alpha < float("inf"):
            raise ValueError(f"`alpha` must be a number, not negative. Received: {alpha!r}.")
        self.alpha = float(alpha)
        network = {id(w) for layer in network_layers(model) for w in layer.trainable_weights}
        free = Patterns("exclude", exclude)
        self._weights = {
            path: weight
            for path, weight in structure_of(model).weights.items()
            if id(weight) in network and not free.allow(path)
        }
        if wrong := free.unmet():
            raise ValueError(
                f"`exclude` must name trainable weights of the network. Received: {wrong[0]}. "
                f"They are {sorted(self._weights)}."
            )
        self._start = {path: tf.identity(w.value) for path, w in self._weights.items()}

    def __call__(self) -> tf.Tensor:
        """The penalty now: a scalar, float32."""
        squares = [
            tf.reduce_sum(tf.square(tf.cast(weight, "float32") - tf.cast(start, "float32")))
            for weight, start in zip(self._weights.values(), self._start.values(), strict=True)
        ]
        return 0.5 * self.alpha * tf.add_n(squares) if squares else tf.zeros(())
