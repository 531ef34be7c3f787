"""The sequence loss as an object for `LossAwareModel.compile(loss=...)`."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from keras_trainsteps.losses.bound_loss import BoundLoss
from keras_trainsteps.losses.sequences.crossentropy import masked_crossentropy


@keras.saving.register_keras_serializable("keras_trainsteps")
class MaskedCrossentropy(BoundLoss):
    """`masked_crossentropy` as an object.

    Without `mask` and `pad_id` it takes the mask that Keras puts on the output
    (`Embedding(mask_zero=True)`), as do `metrics.Perplexity`, `metrics.TokenAccuracy` and
    `metrics.SequenceAccuracy`. The perplexity of an epoch is the exponential of its loss.

    Args:
        mask: The name of the side input with the mask, bool, shape `(B, T)`. Default: none.
        name: The name of the loss. Default `"masked_crossentropy"`.
        **options: The options of the function: `pad_id`, `from_logits`, `label_smoothing`,
            `normalize`.

    Raises:
        TypeError: For an option that the function does not have.
        ValueError: For an option that the function refuses.

    Example:

    >>> MaskedCrossentropy(mask="is_word", label_smoothing=0.1).side_inputs
    ('is_word',)
    """

    function = staticmethod(masked_crossentropy)

    def __init__(
        self, *, mask: str | None = None, name: str | None = None, **options: Any
    ) -> None:
        super().__init__({"mask": mask}, options, name=name)

    def example(self) -> dict[str, tf.Tensor]:
        return {"y_true": tf.zeros((0, 1), tf.int32), "y_pred": tf.zeros((0, 1, 1))}
