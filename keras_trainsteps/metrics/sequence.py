"""Metrics of sequences, over the tokens that the loss counts."""

from __future__ import annotations

from typing import Any, ClassVar

import keras
import tensorflow as tf

from keras_trainsteps.losses.sequences.crossentropy import token_sums
from keras_trainsteps.losses.sequences.token_losses import token_losses
from keras_trainsteps.losses.sequences.tokens import Tokens, tokens
from keras_trainsteps.step import side_inputs
from keras_trainsteps.validation import TensorLike, as_integer, repr_of


class TokenMetric(keras.metrics.Metric):
    """A ratio of two sums over an epoch's tokens or sequences. A subclass fills `sums`.

    The mask and the weights are those of `losses.masked_crossentropy`. The state is a
    total and a count in float64, which count every token of any epoch.

    Args:
        mask: The name of the side input with the mask. Default: see `pad_id`.
        pad_id: Targets of this value do not count. With neither, the mask is used that
            Keras put on `y_pred`.
        name: Name of the metric.
    """

    default_name: ClassVar[str]
    takes_distributions: ClassVar[bool] = False

    def __init__(
        self,
        *,
        mask: str | None = None,
        pad_id: int | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name or self.default_name, dtype="float64")
        self.mask = mask
        self.pad_id = None if pad_id is None else as_integer("pad_id", pad_id)
        self.total = self.add_variable((), "zeros", dtype="float64", name="total")
        self.count = self.add_variable((), "zeros", dtype="float64", name="count")

    def __repr__(self) -> str:
        """The call that makes the metric."""
        name = None if self.name == self.default_name else self.name
        return repr_of(self, {**vars(self), "name": name})

    @property
    def side_inputs(self) -> tuple[str, ...]:
        """The names of the entries of `x` that the metric reads."""
        return () if self.mask is None else (self.mask,)

    def sums(self, batch: Tokens) -> tuple[tf.Tensor, tf.Tensor]:
        """The total and the count of a batch, float64."""
        raise NotImplementedError(f"{type(self).__name__} must define `sums`.")

    def update_state(
        self,
        y_true: TensorLike,
        y_pred: TensorLike,
        sample_weight: TensorLike | None = None,
        *,
        mask: TensorLike | None = None,
    ) -> None:
        """Adds a batch.

        Args:
            y_true: Integer targets, shape `(B, T)`, `(B,)` or `(B, H, W)`. `Perplexity` takes
                distributions, too, of the shape of `y_pred`.
            y_pred: Logits or probabilities, shape `(B, T, V)`, `(B, V)` or `(B, H, W, V)`.
            sample_weight: One weight per token, `(B, T)`, or per sequence, `(B,)`.
            mask: Bool, one entry a token. Default: the side input that the metric names.

        Raises:
            TypeError: For targets that are no class numbers.
            ValueError: For shapes that do not fit each other, classes that are not there,
                a side input that is not there and, except under XLA, for weights that are
                negative or not numbers.
        """
        if mask is None and self.mask is not None:
            mask = side_inputs.current(self.mask)
        total, count = self.sums(
            tokens(
                y_true,
                y_pred,
                mask=mask,
                pad_id=self.pad_id,
                sample_weight=sample_weight,
                distributions=self.takes_distributions,
            )
        )
        self.total.assign_add(total)
        self.count.assign_add(count)

    def result(self) -> tf.Tensor:
        """The total divided by the count; 0 where nothing counted."""
        return tf.math.divide_no_nan(
            tf.convert_to_tensor(self.total), tf.convert_to_tensor(self.count)
        )

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"mask": self.mask, "pad_id": self.pad_id, "name": self.name}


@keras.saving.register_keras_serializable(package="keras_trainsteps")
class Perplexity(TokenMetric):
    """The exponential of the mean cross-entropy of an epoch's tokens.

    The tokens and the denominator are those of `losses.masked_crossentropy` with
    `normalize="tokens"`, whose epoch log it is the exponential of. A mean of the batches'
    perplexities is another, larger number.

    ```
    perplexity = exp(sum_tokens w * (-log p[y]) / sum_tokens w)
    ```

    Args:
        mask: The name of the side input with the mask, bool, shape `(B, T)`: tokens where
            it is `False` are ignored.
        pad_id: Targets of this value do not count; with `mask` too, a token needs both.
            With neither, the mask is used that Keras put on `y_pred`; without that,
            every token counts.
        from_logits: Whether `y_pred` holds logits (default) or probabilities.
        name: Name of the metric. Default `"perplexity"`.

    Returns:
        From `result()` a float64 scalar; 1 before any token.

    Raises:
        TypeError: For a `pad_id` that is no integer.
        ValueError: From `update_state`, as `losses.masked_crossentropy`, and where the
            side input `mask` is not there.

    Example:

    >>> metric = Perplexity(pad_id=0)
    >>> metric.update_state([[1, 1, 0]], [[[0.0, 0.0], [0.0, 0.0], [5.0, 0.0]]])
    >>> round(float(metric.result()), 6)  # two classes, equally likely
    2.0
    >>> from keras_trainsteps import LossAwareSequential
    >>> from keras_trainsteps.losses import MaskedCrossentropy
    >>> model = LossAwareSequential([keras.layers.Dense(20)])
    >>> model.compile("adam", MaskedCrossentropy(pad_id=0), metrics=[Perplexity(pad_id=0)])

    Reference:
        Jelinek, Mercer, Bahl and Baker, "Perplexity, a measure of the difficulty of speech
        recognition tasks", 1977.
    """

    default_name = "perplexity"
    takes_distributions = True

    def __init__(
        self,
        *,
        mask: str | None = None,
        pad_id: int | None = None,
        from_logits: bool = True,
        name: str | None = None,
    ) -> None:
        super().__init__(mask=mask, pad_id=pad_id, name=name)
        self.from_logits = from_logits

    def sums(self, batch: Tokens) -> tuple[tf.Tensor, tf.Tensor]:
        """The cross-entropy and the weight of the batch's tokens, rounded as in the loss."""
        sums = token_sums(token_losses(batch, self.from_logits), batch)
        total, count = (tf.cast(part, batch.y_pred.dtype) for part in sums)
        return tf.cast(total, tf.float64), tf.cast(count, tf.float64)

    def result(self) -> tf.Tensor:
        """The exponential of the mean cross-entropy."""
        return tf.exp(super().result())

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return super().get_config() | {"from_logits": self.from_logits}


@keras.saving.register_keras_serializable(package="keras_trainsteps")
class TokenAccuracy(TokenMetric):
    """The share of an epoch's tokens whose likeliest class is their target.

    ```
    accuracy = sum_tokens w * (argmax(y_pred) == y) / sum_tokens w
    ```

    Args:
        mask: The name of the side input with the mask, bool, shape `(B, T)`: tokens where
            it is `False` are ignored.
        pad_id: Targets of this value do not count; with `mask` too, a token needs both.
            With neither, the mask is used that Keras put on `y_pred`; without that,
            every token counts.
        name: Name of the metric. Default `"token_accuracy"`.

    Returns:
        From `result()` a float64 scalar; 0 before any token, NaN after a NaN prediction.
        Of equal predictions the first class is the likeliest.

    Raises:
        ValueError: As for `Perplexity`.

    Example:

    >>> metric = TokenAccuracy(pad_id=0)
    >>> metric.update_state([[1, 1, 0]], [[[0.0, 1.0], [1.0, 0.0], [5.0, 0.0]]])
    >>> float(metric.result())
    0.5
    >>> from keras_trainsteps import LossAwareSequential
    >>> from keras_trainsteps.losses import MaskedCrossentropy
    >>> model = LossAwareSequential([keras.layers.Dense(20)])
    >>> model.compile("adam", MaskedCrossentropy(pad_id=0), metrics=[TokenAccuracy(pad_id=0)])

    Reference:
        `keras.metrics.SparseCategoricalAccuracy`, over the tokens that count.
    """

    default_name = "token_accuracy"

    def sums(self, batch: Tokens) -> tuple[tf.Tensor, tf.Tensor]:
        """The weight of the right tokens and of all."""
        return token_sums(_right(batch), batch)


@keras.saving.register_keras_serializable(package="keras_trainsteps")
class SequenceAccuracy(TokenMetric):
    """The share of an epoch's sequences of which every token is right.

    ```
    accuracy = sum_sequences w * (all counted tokens right) / sum_sequences w
    ```

    A sequence without a token that counts does not count; a token of weight 0 is not
    looked at. Weights of tokens do not weigh the sequence, weights of sequences do.

    Args:
        mask: The name of the side input with the mask, bool, shape `(B, T)`: tokens where
            it is `False` are ignored.
        pad_id: Targets of this value do not count; with `mask` too, a token needs both.
            With neither, the mask is used that Keras put on `y_pred`; without that,
            every token counts.
        name: Name of the metric. Default `"sequence_accuracy"`.

    Returns:
        From `result()` a float64 scalar; 0 before any sequence, NaN after a NaN prediction.

    Raises:
        ValueError: As for `Perplexity`.

    Example:

    >>> metric = SequenceAccuracy(pad_id=0)
    >>> metric.update_state([[1, 0], [1, 1]], [[[0.0, 1.0], [0.0, 1.0]]] * 2)
    >>> float(metric.result())
    1.0
    >>> from keras_trainsteps import LossAwareSequential
    >>> from keras_trainsteps.losses import MaskedCrossentropy
    >>> model = LossAwareSequential([keras.layers.Dense(20)])
    >>> padded = {"pad_id": 0}
    >>> model.compile(
    ...     "adam", MaskedCrossentropy(**padded), metrics=[SequenceAccuracy(**padded)]
    ... )

    Reference:
        The share of exact matches, as in Rajpurkar et al., "SQuAD: 100,000+ questions for
        machine comprehension of text", 2016, section 6.1, of whole sequences of tokens.
    """

    default_name = "sequence_accuracy"

    def sums(self, batch: Tokens) -> tuple[tf.Tensor, tf.Tensor]:
        """The weight of the right sequences and of all."""
        counts = batch.weight != 0
        right = tf.where(counts, _right(batch), tf.ones_like(batch.weight))
        within = batch.of_sequence
        weight = tf.cast(batch.sequence_weight, tf.float64)
        weight = tf.where(tf.reduce_any(counts, within), weight, tf.zeros_like(weight))
        # A product: 1 if all are right, and NaN if one is.
        all_right = tf.cast(tf.reduce_prod(right, within), tf.float64)
        return tf.reduce_sum(weight * all_right), tf.reduce_sum(weight)


def likeliest(batch: Tokens) -> tuple[tf.Tensor, tf.Tensor]:
    """The likeliest class of each token, and which cannot be known: a prediction is NaN."""
    chosen = tf.argmax(batch.y_pred, axis=-1, output_type=batch.y_true.dtype)
    return chosen, tf.reduce_any(tf.math.is_nan(batch.y_pred), -1) & batch.mask


def _right(batch: Tokens) -> tf.Tensor:
    """1 for a right token, 0 for a wrong one, NaN where a prediction is NaN."""
    chosen, unknown = likeliest(batch)
    right = tf.cast(chosen == batch.y_true, batch.y_pred.dtype)
    return tf.where(unknown, tf.constant(float("nan"), right.dtype), right)
