"""Cross-entropy of sequences whose padding must not count."""

from __future__ import annotations

from typing import Literal

import tensorflow as tf

from keras_trainsteps.losses.sequences.targets import as_class
from keras_trainsteps.losses.sequences.token_losses import token_losses
from keras_trainsteps.losses.sequences.tokens import Tokens, tokens
from keras_trainsteps.step.terms import LossTerm, ratio
from keras_trainsteps.validation import (
    TensorLike,
    is_number,
    require_choice,
    require_not_negative,
)

Normalize = Literal["tokens", "sequences"]


def masked_crossentropy(
    y_true: TensorLike,
    y_pred: TensorLike,
    *,
    mask: TensorLike | None = None,
    pad_id: int | None = None,
    from_logits: bool = True,
    label_smoothing: float = 0.0,
    smoothing_spares: int | None = None,
    gamma: float = 0.0,
    normalize: Normalize = "tokens",
    sample_weight: TensorLike | None = None,
) -> LossTerm:
    """Cross-entropy of the tokens that are not padding.

    For language models, translation, tagging and segmentation. Memory with classes as targets
    is that of TensorFlow's fused sparse softmax cross-entropy: the mask costs no copy of the
    logits. Distributions, and `gamma` together with smoothing, take a few copies.

    ```
    loss(token) = -sum_v q_v * (1 - p_v) ** gamma * log p_v              p = softmax(logits)
    q_v = (1 - label_smoothing) * t_v + label_smoothing * u_v
    ```

    with `t` the target, which is 1 for the class `y_true` and 0 for others, or the distribution
    given; and `u_v = 1 / V`, or with `smoothing_spares` 0 for that class and `1 / (V - 1)` for
    the others. Without smoothing and `gamma` it is `-log p[y]`.

    Args:
        y_true: Target classes, integers in `[0, V)`, shape `(B, T)` or `(B, T, 1)`; one a row,
            `(B,)` or `(B, 1)`; or of images `(B, H, W)` or `(B, H, W, 1)`. Float32 and float64
            are taken as whole numbers, since Keras casts targets. Or distributions over the
            classes, of the shape of `y_pred`: not negative, with sums of 1. Targets that do not
            count may be anything.
        y_pred: Logits, or probabilities, shape `(B, T, V)`, `(B, V)` or `(B, H, W, V)`. Narrower
            than float32 is computed in float32.
        mask: Bool, one entry a token, `(B, T)`, `(B,)` or `(B, H, W)`; tokens where it is `False`
            are ignored. Default: see `pad_id`.
        pad_id: Targets of this value do not exist; with `mask` too, a token needs both.
            With neither, the mask that Keras put on `y_pred` is used
            (`Embedding(mask_zero=True)`); without that, every token counts. Not with
            distributions.
        from_logits: Whether `y_pred` holds logits (default) or probabilities that sum to
            1. A probability of 0 costs infinity; Keras clips it to 1e-7.
        label_smoothing: Share of the target spread over the classes, in [0, 1). Default 0.
        smoothing_spares: A class that gets nothing of it, as of padding, which no token of the
            output is. Default `None`: all get the same.
        gamma: How much tokens that are already likely are spared, at least 0: the focal loss.
            Lin et al. take 2. Default 0: not. The count stays the same.
        normalize: `"tokens"` (default, since its exponential is the perplexity): total and
            count are the sums over tokens. `"sequences"`: each sequence weighs the same,
            by the mean of its tokens, as in the "average over batch" of AllenNLP.
        sample_weight: One weight per token, of the shape of `mask`, or per sequence, `(B,)` or
            `(B, 1)`; it enters the count too, so that a weight of 2 is a token twice. Keras
            divides by the tokens instead, whatever their weights. Default: 1.

    Returns:
        A `LossTerm`.

    Raises:
        TypeError: For targets, a `pad_id` or a `smoothing_spares` that are no class numbers.
        ValueError: For shapes that do not fit, a `label_smoothing` outside [0, 1), a `gamma`
            below 0, a `smoothing_spares` that is no class, a `pad_id` beside distributions, an
            unknown `normalize`, and, except under XLA, for targets that are no class and no
            distribution, and for weights that are NaN or negative.
        NotImplementedError: For a second derivative with `from_logits` and classes as targets.

    Example:

    >>> logits = [[[0.0, 0.0], [0.0, 0.0], [9.0, 9.0]]]
    >>> term = masked_crossentropy([[1, 1, 0]], logits, pad_id=0)
    >>> round(float(term.total), 4), float(term.count)  # 2 * log 2
    (1.3863, 2.0)
    >>> term = masked_crossentropy([[0.25, 0.75]], [[0.0, 0.0]], gamma=2.0)  # one row, (B, V)
    >>> round(float(term.total), 4)  # (1 / 2) ** 2 * log 2
    0.1733

    Reference:
        Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2016 (label
        smoothing). Lin et al., "Focal Loss for Dense Object Detection", 2017 (`gamma`; with
        smoothing or distributions by class, as `keras.losses.CategoricalFocalCrossentropy`).
    """
    require_choice("normalize", normalize, Normalize)
    if not (is_number(label_smoothing) and 0 <= label_smoothing < 1):
        raise ValueError(f"`label_smoothing` must be in [0, 1). Received: {label_smoothing!r}.")
    require_not_negative("gamma", gamma)
    label_smoothing, gamma = float(label_smoothing), float(gamma)
    batch = tokens(
        y_true,
        y_pred,
        mask=mask,
        pad_id=pad_id,
        sample_weight=sample_weight,
        distributions=True,
    )
    if smoothing_spares is not None:
        smoothing_spares = as_class(smoothing_spares, batch.y_pred)
    losses = token_losses(batch, from_logits, label_smoothing, smoothing_spares, gamma)
    if normalize == "tokens":
        total, count = token_sums(losses, batch)
    else:
        total, count = _sequence_sums(losses, batch)
    dtype = batch.y_pred.dtype
    return LossTerm(tf.cast(total, dtype), tf.cast(count, dtype))


def token_sums(values: tf.Tensor, batch: Tokens) -> tuple[tf.Tensor, tf.Tensor]:
    """The weighted sum of one value per token, and the sum of the weights; float64."""
    weight = tf.cast(batch.weight, tf.float64)
    return tf.reduce_sum(weight * tf.cast(values, tf.float64)), tf.reduce_sum(weight)


def _sequence_sums(losses: tf.Tensor, batch: Tokens) -> tuple[tf.Tensor, tf.Tensor]:
    weight = tf.cast(batch.weight, tf.float64)
    weights = tf.reduce_sum(weight, batch.of_sequence)
    weighed = weight * tf.cast(losses, tf.float64)
    means = ratio(tf.reduce_sum(weighed, batch.of_sequence), weights)
    # Weights of tokens share out their sequence; weights of sequences weigh it.
    kept = tf.cast(batch.sequence_weight, tf.float64)
    kept = tf.where(weights != 0, kept, tf.zeros_like(kept))
    return tf.reduce_sum(kept * means), tf.reduce_sum(kept)
