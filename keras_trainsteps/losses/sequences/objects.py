"""The sequence loss as an object for `LossAwareModel.compile(loss=...)`."""

from __future__ import annotations

import keras
import tensorflow as tf

from keras_trainsteps.losses.bound_loss import BoundLoss
from keras_trainsteps.losses.sequences.crossentropy import Normalize, masked_crossentropy


@keras.saving.register_keras_serializable("keras_trainsteps")
class MaskedCrossentropy(BoundLoss):
    """Cross-entropy of integer targets over the tokens that are not padding.

    For language models, translation and tagging. The perplexity of an epoch is the
    exponential of its loss.

    ```
    loss(token) = -log p[y]                                              p = softmax(logits)
    loss(token) = -(1 - label_smoothing) * log p[y] - label_smoothing * mean_v log p[v]
    ```

    for targets `(B, T)` and outputs `(B, T, V)`. Without `mask` and `pad_id` it takes the mask
    that Keras puts on the output (`Embedding(mask_zero=True)`), as do `metrics.Perplexity`,
    `metrics.TokenAccuracy` and `metrics.SequenceAccuracy`. With one of them these need it, too:
    `compile` warns where they count other tokens.

    Args:
        mask: Name of the side input with the mask, bool, shape `(B, T)`; tokens where it is
            `False` are ignored. Default: none.
        pad_id: Targets of this value are ignored. Default: none are.
        from_logits: Whether the outputs are logits (default) or probabilities.
        label_smoothing: Share of the target spread over all classes, in [0, 1). Default 0.
        normalize: `"tokens"` (default): the sum over tokens is divided by their weights.
            `"sequences"`: each sequence weighs the same, by the mean of its tokens.
        name: Name of the loss in logs. Default `"masked_crossentropy"`.

    Raises:
        TypeError: For a `pad_id` that is no integer, or an argument that is a variable.
        ValueError: For a `label_smoothing` outside [0, 1) or an unknown `normalize`. In
            training, for what `losses.masked_crossentropy` refuses.

    Example:

    >>> from keras_trainsteps import LossAwareModel
    >>> inputs = keras.Input((3,), dtype="int32", name="words")
    >>> hidden = keras.layers.Embedding(5, 4)(inputs)
    >>> model = LossAwareModel(inputs, keras.layers.Dense(5)(hidden))
    >>> model.compile("adam", loss=MaskedCrossentropy(mask="is_word", label_smoothing=0.1))
    >>> words = np.array([[1, 2, 0], [3, 4, 2]])
    >>> history = model.fit({"words": words, "is_word": words != 0}, words, verbose=0)
    >>> list(history.history)
    ['loss']

    Reference:
        Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2016
        (label smoothing).
    """

    function = staticmethod(masked_crossentropy)
    reads = ("mask",)

    def __init__(
        self,
        *,
        mask: str | None = None,
        pad_id: int | None = None,
        from_logits: bool = True,
        label_smoothing: float = 0.0,
        normalize: Normalize = "tokens",
        name: str | None = None,
    ) -> None:
        self.bind(locals())

    @property
    def pad_id(self) -> int | None:
        """The target that marks padding; `None` without one."""
        return self.given["pad_id"]

    def example(self) -> dict[str, tf.Tensor]:
        return {"y_true": tf.zeros((0, 1), tf.int32), "y_pred": tf.zeros((0, 1, 1))}
