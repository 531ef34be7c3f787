"""The cross-entropy of each token: of its class, or of a distribution over the classes."""

from __future__ import annotations

import tensorflow as tf

from keras_trainsteps import compat
from keras_trainsteps.losses.sequences.tokens import Tokens


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
            smoothed = _above_mean(predictions, targets, mask, from_logits, spared)
            losses += label_smoothing * smoothed
        if gamma:
            losses *= _doubt(-losses, gamma)
    losses = tf.where(mask, losses, tf.zeros_like(losses))
    return tf.reshape(losses, tf.shape(batch.mask))


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


def _of_target(values: tf.Tensor, targets: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Each kept row's value of its target class; 1 elsewhere."""
    index = tf.cast(targets, tf.int64)
    rows = tf.range(tf.size(index, tf.int64), dtype=tf.int64)
    chosen = tf.gather_nd(values, tf.stack([rows, index], 1))
    return tf.where(mask, chosen, tf.ones_like(chosen))


def _above_mean(
    predictions: tf.Tensor,
    targets: tf.Tensor,
    mask: tf.Tensor,
    from_logits: bool,
    spared: int | tf.Tensor | None,
) -> tf.Tensor:
    """By how much `log p` of the target is above the mean of the classes to smooth over."""
    target, kept = _of_target(predictions, targets, mask), mask[:, None]
    classes = tf.shape(predictions)[1]
    if spared is not None:
        kept &= tf.range(classes) != spared
    nothing = tf.zeros_like(predictions) if from_logits else tf.ones_like(predictions)
    others = tf.where(kept, predictions, nothing)
    if not from_logits:
        target, others = tf.math.log(target), tf.math.log(others)
    # With log p = logits - z the normaliser z cancels.
    if spared is None:
        return target - tf.reduce_mean(others, 1)
    return target - tf.reduce_sum(others, 1) / tf.cast(classes - 1, others.dtype)


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
