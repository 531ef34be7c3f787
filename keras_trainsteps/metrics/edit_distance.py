"""How many edits sequences are away from their references."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import keras
import tensorflow as tf

from keras_trainsteps import compat
from keras_trainsteps.losses.sequences.tokens import tokens
from keras_trainsteps.metrics.levenshtein import edit_distances, kept_first
from keras_trainsteps.metrics.sequence import TokenMetric, likeliest
from keras_trainsteps.queries import checked_weights
from keras_trainsteps.step import running, side_inputs
from keras_trainsteps.validation import (
    TensorLike,
    as_float,
    as_integer,
    as_mask,
    as_tensor,
    refuse,
    require_choice,
)

EditNormalize = Literal["tokens", "sequences"]


class _Sequences(NamedTuple):
    """Ids, int32 or int64, which of them count, and which cannot be known."""

    ids: tf.Tensor
    kept: tf.Tensor
    unknown: tf.Tensor


@keras.saving.register_keras_serializable(package="keras_trainsteps")
class EditDistance(TokenMetric):
    """Edits from predicted to reference sequences: word or character error rate.

    For speech, text recognition and other output whose length is not given. The fewest
    insertions, deletions and substitutions (Levenshtein), exact. Over ids of words it is the word
    error rate (WER), over ids of characters the character error rate (CER). An epoch is a ratio
    of sums, as the rates are defined, and no mean of rates of batches or sequences.

    ```
    rate = sum_sequences w * edits / sum_sequences w * (tokens of the reference)
    ```

    A rate above 1 is possible. With `normalize="sequences"` the sum is divided by `sum w`: the
    mean number of edits.

    Args:
        mask: The name of the side input with the mask of the references, bool, shape `(B, T)`:
            tokens where it is `False` do not exist.
        pad_id: Tokens of this value do not exist, in references and predictions; with `mask`
            too, a reference's token needs both.
        end_id: A token of this value ends its sequence, in references and predictions; neither it
            nor what follows counts. Default: none does.
        normalize: `"tokens"` (default), the error rate, or `"sequences"`.
        name: Name of the metric. Default `"edit_distance"`.

    Returns:
        From `result()` a float64 scalar; 0 before any sequence, infinity for edits of references
        without a token, NaN after a NaN prediction of a token.

    Raises:
        TypeError: For a `pad_id` or `end_id` that is no integer.
        ValueError: For an unknown `normalize`; from `update_state`, for shapes that do not fit,
            weights of tokens, where the side input `mask` is not there, and, except under XLA,
            for ids that are no whole numbers and weights that are NaN or negative.

    Example:

    >>> metric = EditDistance(pad_id=0)
    >>> metric.update_state([[7, 8, 9, 0]], [[7, 9, 5]])  # ids that were decoded, of any length
    >>> round(float(metric.result()), 4)  # 8 is left out, 5 put in; of three
    0.6667
    >>> from keras_trainsteps import LossAwareSequential
    >>> from keras_trainsteps.losses import MaskedCrossentropy
    >>> model = LossAwareSequential([keras.layers.Dense(20)])
    >>> model.compile("adam", MaskedCrossentropy(pad_id=0), metrics=[EditDistance(pad_id=0)])

    Reference:
        Levenshtein, "Binary codes capable of correcting deletions, insertions, and reversals",
        1966. `keras_hub.metrics.EditDistance`, whose `normalize=False` is `"sequences"`.
    """

    default_name = "edit_distance"

    def __init__(
        self,
        *,
        mask: str | None = None,
        pad_id: int | None = None,
        end_id: int | None = None,
        normalize: EditNormalize = "tokens",
        name: str | None = None,
    ) -> None:
        super().__init__(mask=mask, pad_id=pad_id, name=name)
        require_choice("normalize", normalize, EditNormalize)
        self.end_id = None if end_id is None else as_integer("end_id", end_id)
        self.normalize = normalize
        compat.set_direction(self, "down")

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
            y_true: Reference ids, integers or whole floats, shape `(B, T)`.
            y_pred: Ids that were decoded, shape `(B, S)`. Or logits or probabilities, shape
                `(B, T, V)`, whose likeliest classes are taken where the reference has a token.
                Beam search and sampling are another's: hand over what they return.
            sample_weight: One weight per sequence, `(B,)` or `(B, 1)`.
            mask: Bool, shape `(B, T)`. Default: the side input that the metric names, or without
                one and without `pad_id` the mask that Keras put on logits.
        """
        if mask is None and self.mask is not None:
            mask = side_inputs.current(self.mask)
        rank = as_tensor("y_pred", y_pred).shape.rank
        if rank == 3:
            wanted, found = self._of_classes(y_true, y_pred, mask)
        elif rank == 2:
            wanted, found = self._of_ids("y_true", y_true, mask), self._of_ids("y_pred", y_pred)
        else:
            raise ValueError(
                "`y_pred` must be ids, shape (batch, length), or have one row of classes per "
                "token, shape (batch, time, classes). Received: shape "
                f"{tuple(as_tensor('y_pred', y_pred).shape)}."
            )
        rows = wanted.ids.shape[:1]
        if not rows.is_compatible_with(found.ids.shape[:1]):
            raise ValueError(
                "`y_true` and `y_pred` must have the same number of sequences. Received: "
                f"{rows[0]} and {found.ids.shape[0]}."
            )
        references, sizes = kept_first(wanted.ids, wanted.kept)
        given, given_sizes = kept_first(found.ids, found.kept)
        edits = tf.cast(edit_distances(given, given_sizes, references, sizes), tf.float64)
        unknown = tf.reduce_any(wanted.unknown, 1) | tf.reduce_any(found.unknown, 1)
        edits = tf.where(unknown, tf.constant(float("nan"), tf.float64), edits)
        counts = tf.cast(sizes, tf.float64)
        if self.normalize == "sequences":
            counts = tf.cast(sizes + given_sizes > 0, tf.float64)
        if sample_weight is not None:
            weight = _of_sequences(sample_weight, rows)
            edits, counts = edits * weight, counts * weight
        self.total.assign_add(tf.reduce_sum(edits))
        self.count.assign_add(tf.reduce_sum(counts))

    def result(self) -> tf.Tensor:
        """Edits by token, or by sequence; infinity for edits alone."""
        total, count = (tf.convert_to_tensor(each) for each in (self.total, self.count))
        alone = tf.where(total > 0, tf.constant(float("inf"), tf.float64), total)
        return tf.where(count > 0, tf.math.divide_no_nan(total, count), alone)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        options = {"end_id": self.end_id, "normalize": self.normalize}
        return super().get_config() | options

    def _of_classes(self, y_true: Any, y_pred: Any, mask: Any) -> tuple[_Sequences, _Sequences]:
        """References, and the likeliest classes where they have a token."""
        batch = tokens(y_true, y_pred, mask=mask, pad_id=self.pad_id, sample_weight=None)
        chosen, unknown = likeliest(batch)
        # Under XLA a class that is none has a weight of NaN.
        broken = tf.math.is_nan(batch.weight)
        wanted = _Sequences(batch.y_true, self._within(batch.y_true, batch.mask), broken)
        return wanted, _Sequences(chosen, self._within(chosen, batch.mask), unknown)

    def _of_ids(self, name: str, value: Any, mask: Any = None) -> _Sequences:
        """Sequences of ids."""
        value = as_tensor(name, value)
        if value.shape.rank != 2:
            raise ValueError(
                f"`{name}` must be ids, shape (batch, length), where `y_pred` is. Received: "
                f"shape {tuple(value.shape)}."
            )
        kept = tf.ones_like(value, tf.bool) if mask is None else _mask_of(mask, value.shape)
        counted = running.counted_rows(value.shape, masked=mask is not None)
        kept = kept if counted is None else kept & counted
        unknown = tf.zeros_like(kept)
        if value.dtype.is_floating:
            whole = kept & ~(tf.floor(value) == value)
            rule = f"`{name}` must hold ids, whole numbers"
            value = refuse(value, whole, "number", rule, "Pass logits as (batch, time, classes).")
            unknown = kept & tf.math.is_nan(value)
            value = tf.where(kept, value, tf.zeros_like(value))
        ids = tf.cast(value, tf.int64)
        return _Sequences(ids, self._within(ids, kept), unknown)

    def _within(self, ids: tf.Tensor, kept: tf.Tensor) -> tf.Tensor:
        """Which tokens are no padding, and before the end."""
        if self.pad_id is not None:
            kept &= ids != tf.cast(self.pad_id, ids.dtype)
        if self.end_id is not None:
            ends = tf.cast(kept & (ids == tf.cast(self.end_id, ids.dtype)), tf.int32)
            kept &= tf.cumsum(ends, 1) == 0
        return kept


def _mask_of(mask: Any, ids: tf.TensorShape) -> tf.Tensor:
    mask = as_mask("mask", mask)
    if mask.shape.rank != 2 or not mask.shape.is_compatible_with(ids):
        raise ValueError(
            "`mask` must have one entry per token of the references, shape "
            f"{tuple(ids)}. Received: shape {tuple(mask.shape)}."
        )
    return mask


def _of_sequences(sample_weight: Any, rows: tf.TensorShape) -> tf.Tensor:
    """One weight a sequence, float64."""
    weight = as_float("sample_weight", sample_weight, tf.float64)
    column = weight.shape.rank == 2 and weight.shape[1] == 1
    if not (weight.shape.rank == 1 or column) or not rows.is_compatible_with(weight.shape[:1]):
        raise ValueError(
            "`sample_weight` must have one entry per sequence, shape (batch,) or (batch, 1), as "
            f"edits belong to no token. Received: shape {tuple(weight.shape)}."
        )
    return tf.reshape(checked_weights(weight), (-1,))
