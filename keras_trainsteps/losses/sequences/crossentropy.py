"""Cross-entropy of sequences whose padding must not count."""

from __future__ import annotations

from typing import Literal

import tensorflow as tf

from keras_trainsteps import compat
from keras_trainsteps.losses.sequences.tokens import Tokens, tokens
from keras_trainsteps.step.terms import LossTerm, ratio
from keras_trainsteps.validation import TensorLike, is_number, require_choice

Normalize = Literal["tokens", "sequences"]


def masked_crossentropy(
    y_true: TensorLike,
    y_pred: TensorLike,
    *,
    mask: TensorLike | None = None,
    pad_id: int | None = None,
    from_logits: bool = True,
    label_smoothing: float = 0.0,
    normalize: Normalize = "tokens",
    sample_weight: TensorLike | None = None,
) -> LossTerm:
    """Cross-entropy of integer targets over the tokens that are not padding.

    For language models, translation and tagging. Memory is that of TensorFlow's fused
    sparse softmax cross-entropy: the mask costs no copy of the logits.

    ```
    loss(token) = -log p[y]                                              p = softmax(logits)
    loss(token) = -(1 - label_smoothing) * log p[y] - label_smoothing * mean_v log p[v]
    ```

    Args:
        y_true: Target classes, integers in `[0, V)`, shape `(B, T)` or `(B, T, 1)`. Float32
            and float64 are taken as whole numbers, since Keras casts targets. Targets
            that do not count may be anything.
        y_pred: Logits, or probabilities, shape `(B, T, V)`. Narrower than float32 is
            computed in float32.
        mask: Bool, shape `(B, T)`; tokens where it is `False` are ignored. Default: see `pad_id`.
        pad_id: Targets of this value do not exist; with `mask` too, a token needs both.
            With neither, the mask that Keras put on `y_pred` is used
            (`Embedding(mask_zero=True)`); without that, every token counts.
        from_logits: Whether `y_pred` holds logits (default) or probabilities that sum to
            1. A probability of 0 costs infinity; Keras clips it to 1e-7.
        label_smoothing: Share of the target spread over all classes, in [0, 1). Default 0.
        normalize: `"tokens"` (default, since its exponential is the perplexity): total and
            count are the sums over tokens. `"sequences"`: each sequence weighs the same,
            by the mean of its tokens, as in the "average over batch" of AllenNLP.
        sample_weight: One weight per token, `(B, T)`, or per sequence, `(B,)` or `(B, 1)`; it
            enters the count too, so that a weight of 2 is a token twice. Keras divides by
            the tokens instead, whatever their weights. Default: 1.

    Returns:
        A `LossTerm`.

    Raises:
        TypeError: For targets or a `pad_id` that are not numbers of classes.
        ValueError: For shapes that do not fit, a `label_smoothing` outside [0, 1), an
            unknown `normalize`, and, except under XLA, for targets that are no class and
            for weights that are NaN or negative.
        NotImplementedError: For a second derivative with `from_logits`.

    Example:

    >>> logits = [[[0.0, 0.0], [0.0, 0.0], [9.0, 9.0]]]
    >>> term = masked_crossentropy([[1, 1, 0]], logits, pad_id=0)
    >>> round(float(term.total), 4), float(term.count)  # 2 * log 2
    (1.3863, 2.0)
    """
    require_choice("normalize", normalize, Normalize)
    if not (is_number(label_smoothing) and 0 <= label_smoothing < 1):
        raise ValueError(f"`label_smoothing` must be in [0, 1). Received: {label_smoothing!r}.")
    batch = tokens(y_true, y_pred, mask=mask, pad_id=pad_id, sample_weight=sample_weight)
    losses = token_losses(batch, from_logits, label_smoothing)
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


def token_losses(batch: Tokens, from_logits: bool, label_smoothing: float) -> tf.Tensor:
    """The cross-entropy of each token, shape `(B, T)`; 0 where it does not count."""
    classes = tf.shape(batch.y_pred)[-1]
    predictions = tf.reshape(batch.y_pred, (-1, classes))
    targets, mask = tf.reshape(batch.y_true, (-1,)), tf.reshape(batch.mask, (-1,))
    if from_logits:
        losses = _fused(predictions, targets, mask)
    else:
        losses = -tf.math.log(_of_target(predictions, targets, mask))
    if label_smoothing:
        kept = tf.where(mask[:, None], predictions, tf.ones_like(predictions))
        logs = kept if from_logits else tf.math.log(kept)
        target = _of_target(logs, targets, mask)
        # With log p = logits - z the normaliser z cancels.
        losses += label_smoothing * (target - tf.reduce_mean(logs, 1))
    losses = tf.where(mask, losses, tf.zeros_like(losses))
    return tf.reshape(losses, tf.shape(batch.y_true))


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
    weights = tf.reduce_sum(weight, 1)
    means = ratio(tf.reduce_sum(weight * tf.cast(losses, tf.float64), 1), weights)
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
