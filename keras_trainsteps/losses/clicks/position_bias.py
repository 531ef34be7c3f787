"""`PositionBias`: a tower of positions beside the one of relevance, trained and not served."""

from __future__ import annotations

from typing import Any, Literal

import keras
import tensorflow as tf

from keras_trainsteps.validation import TensorLike, as_count, refuse, require_choice

Form = Literal["additive", "multiplicative"]


@keras.saving.register_keras_serializable("keras_trainsteps")
class PositionBias(keras.layers.Layer):
    """What the position of a result adds to its clicks, trained beside the scores.

    For labels that are clicks on ranked lists: people click what stands on top, so that a ranker
    of clicks learns the ranking that was shown. Called in `compute_losses` on scores and
    positions, it gives logits of clicks, for `sigmoid_crossentropy`, or scores for `softmax`:

    ```
    additive:        logit(click) = s + b[position]
    multiplicative:  P(click) = sigmoid(s) * sigmoid(b[position])
    ```

    The first is the two-tower additive model; the second the position-based click model, whose
    second factor is the examination of a position. Positions are a side input, and the layer is
    called in the hook alone: `predict` and exports have scores without them.

    Args:
        positions: The number of positions; they count from 1, the top.
        form: `"additive"` (default) or `"multiplicative"`.
        name: Name of the layer. Default: made by Keras.

    Raises:
        TypeError: For positions that are no integers.
        ValueError: For an unknown form, fewer than 1 position; in a step: for positions that
            are not from 1 to `positions`.

    Example:

    >>> from keras_trainsteps import LossAwareModel, losses
    >>> class FromClicks(LossAwareModel):
    ...     side_inputs = ("position",)
    ...     def __init__(self, inputs, outputs):
    ...         super().__init__(inputs, outputs)
    ...         self.bias = PositionBias(10)
    ...     def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
    ...         logits = self.bias(y_pred, x["position"])
    ...         return {"clicks": losses.sigmoid_crossentropy(y, logits)}
    >>> inputs = keras.Input((4,), name="features")
    >>> scores = keras.layers.Reshape(())(keras.layers.Dense(1)(inputs))
    >>> model = FromClicks(inputs, scores)
    >>> model.compile("adam")
    >>> x = {"features": np.ones((6, 4)), "position": np.array([1, 2, 3, 1, 2, 3])}
    >>> history = model.fit(x, np.array([1, 0, 0, 1, 1, 0]), verbose=0)
    >>> model.predict({"features": np.ones((2, 4))}, verbose=0).shape
    (2,)

    Reference:
        Zhao et al., "Recommending What Video to Watch Next: A Multitask Ranking System", 2019
        (additive); Richardson, Dominowska and Ragno, "Predicting Clicks", 2007 (examination).
    """

    part_of_network = False

    def __init__(
        self, positions: int, *, form: Form = "additive", name: str | None = None
    ) -> None:
        super().__init__(name=name)
        require_choice("form", form, Form)
        self.positions, self.form = as_count("positions", positions), form
        self.bias = self.add_weight(shape=(self.positions,), initializer="zeros", name="bias")
        self.built = True

    def call(self, scores: TensorLike, positions: TensorLike) -> tf.Tensor:
        """Logits of clicks, of the shape of `scores`."""
        scores, positions = tf.convert_to_tensor(scores), tf.convert_to_tensor(positions)
        if not positions.dtype.is_integer:
            raise TypeError(
                f"`positions` must be integers from 1. Received: dtype {positions.dtype.name}. "
                "Cast what is whole, as by `.astype('int64')`."
            )
        outside = (positions < 1) | (positions > self.positions)
        positions = refuse(
            positions,
            outside,
            "position",
            f"`positions` must be from 1 to {self.positions}",
            "They count from the top; make a `PositionBias` of as many as there are.",
        )
        bias = tf.gather(self.bias, tf.where(outside, tf.ones_like(positions), positions) - 1)
        bias = tf.where(outside, tf.constant(float("nan"), bias.dtype), bias)  # XLA cannot refuse
        bias = tf.reshape(tf.cast(bias, scores.dtype), tf.shape(scores))
        if self.form == "additive":
            return scores + bias
        log_click = -tf.nn.softplus(-scores) - tf.nn.softplus(-bias)
        return log_click - tf.math.log(-tf.math.expm1(log_click))

    def propensities(self) -> tf.Tensor:
        """How much each position is examined, beside the first: shape `(positions,)`.

        Of the additive form `exp(b - b[0])`, at most right where clicks are rare.
        """
        log_bias = self.bias if self.form == "additive" else -tf.nn.softplus(-self.bias)
        log_bias = tf.convert_to_tensor(log_bias)
        return tf.exp(log_bias - log_bias[0])

    def get_config(self) -> dict[str, Any]:
        return {"positions": self.positions, "form": self.form, "name": self.name}
