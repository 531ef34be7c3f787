"""The sequence loss as an object for `LossAwareModel.compile(loss=...)`."""

from __future__ import annotations

import keras
import tensorflow as tf

from keras_trainsteps.losses.bound_loss import BoundLoss
from keras_trainsteps.losses.sequences.crossentropy import Normalize, masked_crossentropy
from keras_trainsteps.validation import as_integer


@keras.saving.register_keras_serializable("keras_trainsteps")
class MaskedCrossentropy(BoundLoss):
    """Cross-entropy of the tokens that are not padding.

    For language models, translation, tagging and segmentation. The perplexity of an epoch is
    the exponential of its loss, without smoothing and `gamma`.

    ```
    loss(token) = -sum_v q_v * (1 - p_v) ** gamma * log p_v              p = softmax(logits)
    q_v = (1 - label_smoothing) * t_v + label_smoothing * u_v
    ```

    with `t` the target, which is 1 for the class `y_true` and 0 for others, or the distribution
    given; and `u_v = 1 / V`, or with `smoothing_spares` 0 for that class and `1 / (V - 1)` for
    the others. Without smoothing and `gamma` it is `-log p[y]`.

    Targets are classes `(B, T)`, or `(B,)` or `(B, H, W)`, for outputs of this shape and `V`; or
    distributions of the shape of the outputs. Without `mask` and `pad_id` it takes the mask
    that Keras puts on the output (`Embedding(mask_zero=True)`), as do `metrics.Perplexity`,
    `metrics.TokenAccuracy` and `metrics.SequenceAccuracy`. With one of them these need it, too:
    `compile` warns where they count other tokens.

    Args:
        mask: Name of the side input with the mask, bool, one entry a token, `(B, T)`; tokens
            where it is `False` are ignored. Default: none.
        pad_id: Targets of this value are ignored. Default: none are. Not with distributions.
        from_logits: Whether the outputs are logits (default) or probabilities.
        label_smoothing: Share of the target spread over the classes, in [0, 1). Default 0.
        smoothing_spares: A class that gets nothing of it, as of padding, which no token of the
            output is. Default `None`: all get the same.
        gamma: How much tokens that are already likely are spared, at least 0: the focal loss.
            Lin et al. take 2. Default 0: not. The count stays the same.
        normalize: `"tokens"` (default): the sum over tokens is divided by their weights.
            `"sequences"`: each sequence weighs the same, by the mean of its tokens.
        name: Name of the loss in logs. Default `"masked_crossentropy"`.

    Raises:
        TypeError: For a `pad_id` or `smoothing_spares` that is no integer, or an argument that
            is a variable.
        ValueError: For a `label_smoothing` outside [0, 1), a `gamma` or `smoothing_spares` below
            0 or an unknown `normalize`. In training, for what `losses.masked_crossentropy`
            refuses.

    Example:

    >>> from keras_trainsteps import LossAwareModel
    >>> inputs = keras.Input((3,), dtype="int32", name="words")
    >>> hidden = keras.layers.Embedding(5, 4)(inputs)
    >>> model = LossAwareModel(inputs, keras.layers.Dense(5)(hidden))
    >>> loss = MaskedCrossentropy(mask="is_word", label_smoothing=0.1, smoothing_spares=0)
    >>> model.compile("adam", loss=loss)
    >>> words = np.array([[1, 2, 0], [3, 4, 2]])
    >>> history = model.fit({"words": words, "is_word": words != 0}, words, verbose=0)
    >>> list(history.history)
    ['loss']

    Reference:
        Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2016
        (label smoothing). Lin et al., "Focal Loss for Dense Object Detection", 2017 (`gamma`).
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
        smoothing_spares: int | None = None,
        gamma: float = 0.0,
        normalize: Normalize = "tokens",
        name: str | None = None,
    ) -> None:
        self.bind(locals())

    @property
    def pad_id(self) -> int | None:
        """The target that marks padding; `None` without one."""
        return self.given["pad_id"]

    def example(self) -> dict[str, tf.Tensor]:
        spared = self.given["smoothing_spares"]
        classes = 2 if spared is None else max(2, 1 + as_integer("smoothing_spares", spared))
        return {"y_true": tf.zeros((0, 1), tf.int32), "y_pred": tf.zeros((0, 1, classes))}
