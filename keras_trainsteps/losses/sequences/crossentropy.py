"""Cross-entropy of sequences whose padding must not count."""

from __future__ import annotations

from typing import Any, Literal

import tensorflow as tf

from keras_trainsteps import compat
from keras_trainsteps.losses.sequences.tokens import Tokens, tokens
from keras_trainsteps.step.terms import LossTerm, ratio
from keras_trainsteps.validation import (
    TensorLike,
    as_integer,
    is_number,
    refuse,
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
        smoothing_spares = _as_class(smoothing_spares, batch.y_pred)
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


def token_losses(
    batch: Tokens,
    from_logits: bool,
    label_smoothing: float = 0.0,
    spared: int | tf.Tensor | None = None,
    gamma: float = 0.0,
) -> tf.Tensor:
    """The cross-entropy of each token, of the shape of the mask; 0 where it does not count."""
    classes = tf.shape(batch.y_pred)[-1]
    predictions, mask = tf.reshape(batch.y_pred, (-1, classes)), tf.reshape(batch.mask, (-1,))
    if batch.have_distributions or (gamma and label_smoothing):
        target = _distributions(batch, classes)
        target = (1 - label_smoothing) * target + label_smoothing * _uniform(target, spared)
        losses = _of_distributions(predictions, target, mask, from_logits, gamma)
    else:
        targets = tf.reshape(batch.y_true, (-1,))
        if from_logits:
            losses = _fused(predictions, targets, mask)
        else:
            losses = -tf.math.log(_of_target(predictions, targets, mask))
        if label_smoothing:
            target, kept = _of_target(predictions, targets, mask), mask[:, None]
            if spared is not None:
                kept &= tf.range(classes) != spared
            others = tf.where(kept, predictions, tf.ones_like(predictions))
            if not from_logits:
                target, others = tf.math.log(target), tf.math.log(others)
            # With log p = logits - z the normaliser z cancels.
            losses += label_smoothing * (target - _mean(others, spared))
        if gamma:
            losses *= _doubt(-losses, gamma)
    losses = tf.where(mask, losses, tf.zeros_like(losses))
    return tf.reshape(losses, tf.shape(batch.mask))


def _mean(logs: tf.Tensor, spared: int | tf.Tensor | None) -> tf.Tensor:
    """The mean of the logarithms of each row, over the classes that smoothing does not spare."""
    if spared is None:
        return tf.reduce_mean(logs, 1)
    return tf.reduce_sum(logs * _uniform(logs, spared), 1)


def _uniform(values: tf.Tensor, spared: int | tf.Tensor | None) -> tf.Tensor:
    """What each class gets of smoothing, shape `(1, V)`."""
    classes = tf.shape(values)[1]
    if spared is None:
        return tf.fill((1, classes), 1 / tf.cast(classes, values.dtype))
    share = 1 / tf.cast(classes - 1, values.dtype)
    return tf.where(tf.range(classes)[None] == spared, tf.zeros_like(share), share)


def _distributions(batch: Tokens, classes: tf.Tensor) -> tf.Tensor:
    """The target of each token as a distribution, shape `(tokens, V)`."""
    if batch.have_distributions:
        return tf.reshape(batch.y_true, (-1, classes))
    return tf.one_hot(tf.reshape(batch.y_true, (-1,)), classes, dtype=batch.y_pred.dtype)


def _of_distributions(
    predictions: tf.Tensor, target: tf.Tensor, mask: tf.Tensor, from_logits: bool, gamma: float
) -> tf.Tensor:
    """The cross-entropy of each row with its target, 0 for a class that has nothing of it."""
    wanted = mask[:, None] & (target > 0)
    if from_logits:
        predictions = tf.where(mask[:, None], predictions, tf.zeros_like(predictions))
        logs = predictions - tf.reduce_logsumexp(predictions, 1, keepdims=True)
        logs = tf.where(wanted, logs, tf.zeros_like(logs))
    else:
        logs = tf.math.log(tf.where(wanted, predictions, tf.ones_like(predictions)))
    terms = target * logs * _doubt(logs, gamma) if gamma else target * logs
    return -tf.reduce_sum(tf.where(wanted, terms, tf.zeros_like(terms)), 1)


def _doubt(logs: tf.Tensor, gamma: float) -> tf.Tensor:
    """`(1 - p) ** gamma` of `log p`; its slope is 0 at 1, where that of the power may be none."""
    doubt = -tf.math.expm1(logs)
    sure = doubt <= 0
    doubt = tf.where(sure, tf.ones_like(doubt), doubt) ** gamma
    return tf.where(sure, tf.zeros_like(doubt), doubt)


def _as_class(value: Any, predictions: tf.Tensor) -> int | tf.Tensor:
    """A class that smoothing spares, of at least two."""
    spared, classes = as_integer("smoothing_spares", value), tf.shape(predictions)[-1]
    rule = "`smoothing_spares` must be a class of `y_pred`, which has another beside it"
    way_out = "Classes are counted from 0."
    if spared < 0:
        raise ValueError(f"{rule}. Received: {spared}. {way_out}")
    known = predictions.shape[-1]
    if known is None:
        wrong = (spared >= classes) | (classes < 2)
        checked = refuse(classes, wrong, "number of classes", rule, way_out)
        with tf.control_dependencies([checked]):
            return tf.identity(spared)
    if spared >= known or known < 2:
        raise ValueError(f"{rule}. Received: {spared} for {known} classes. {way_out}")
    return spared


def _fused(logits: tf.Tensor, targets: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """TensorFlow's fused cross-entropy, whose gradient is 0 where the mask is false.

    Its own gradient there is 0 times the gradient of a softmax, which is NaN for logits
    that are; masking the logits first would copy them.
    """

    def compute(logits: tf.Tensor) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        losses, slopes = tf.raw_ops.SparseSoftmaxCrossEntropyWithLogits(
            features=logits, labels=targets
        )
        return [losses], [slopes, mask]

    return _OF_FUSED(compute, logits)[0]


def _slopes_of_fused(
    upstream: tf.Tensor, _: tf.Tensor, slopes: tf.Tensor, mask: tf.Tensor
) -> tf.Tensor:
    upstream = tf.where(mask, upstream, tf.zeros_like(upstream))
    return tf.math.multiply_no_nan(slopes, upstream[:, None])


_OF_FUSED = compat.HandGradient("masked_crossentropy", _slopes_of_fused)


def _sequence_sums(losses: tf.Tensor, batch: Tokens) -> tuple[tf.Tensor, tf.Tensor]:
    weight = tf.cast(batch.weight, tf.float64)
    weights = tf.reduce_sum(weight, batch.of_sequence)
    weighed = weight * tf.cast(losses, tf.float64)
    means = ratio(tf.reduce_sum(weighed, batch.of_sequence), weights)
    # Weights of tokens share out their sequence; weights of sequences weigh it.
    kept = tf.cast(batch.sequence_weight, tf.float64)
    kept = tf.where(weights != 0, kept, tf.zeros_like(kept))
    return tf.reduce_sum(kept * means), tf.reduce_sum(kept)


def _of_target(values: tf.Tensor, targets: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Each kept row's value of its target class; 1 elsewhere."""
    index = tf.cast(targets, tf.int64)
    rows = tf.range(tf.size(index, tf.int64), dtype=tf.int64)
    chosen = tf.gather_nd(values, tf.stack([rows, index], 1))
    return tf.where(mask, chosen, tf.ones_like(chosen))
