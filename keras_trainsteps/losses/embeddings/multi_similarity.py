"""Multi-similarity loss: pairs weighed by their own and by relative similarity."""

from __future__ import annotations

import tensorflow as tf

from keras_trainsteps.losses.embeddings.anchors import Anchors, of_products, term_of_anchors
from keras_trainsteps.losses.embeddings.batch import embeddings
from keras_trainsteps.losses.embeddings.geometry import unit
from keras_trainsteps.step.terms import LossTerm
from keras_trainsteps.validation import (
    TensorLike,
    require_not_negative,
    require_plain,
    require_positive,
)


def multi_similarity(
    y_true: TensorLike,
    y_pred: TensorLike,
    *,
    alpha: float = 2.0,
    beta: float = 50.0,
    base: float = 0.5,
    epsilon: float | None = 0.1,
    mask: TensorLike | None = None,
    sample_weight: TensorLike | None = None,
) -> LossTerm:
    """Multi-similarity loss of a batch.

    For labelled examples with few classes' worth of easy pairs: hard pairs dominate
    smoothly. Memory is linear in the rows, time quadratic.

    ```
    loss(i) = log(1 + sum_p exp(-alpha * (S_ip - base))) / alpha
            + log(1 + sum_n exp(beta * (S_in - base))) / beta
    ```

    with cosines `S`, the positives `p` that are less similar than the most similar
    negative plus `epsilon`, and the negatives `n` that are more similar than the least
    similar positive minus `epsilon`.

    Args:
        y_true: Labels, integers or strings, shape `(rows,)` or `(rows, 1)`. Whole numbers
            in float32 and float64 are taken too, since Keras casts targets.
        y_pred: Embeddings, shape `(rows, dimensions)`. Narrower than float32 is computed
            in float32.
        alpha: Sharpness of the positives' part, above 0. Default 2.
        beta: Sharpness of the negatives' part, above 0. Default 50 (the paper and PyTorch
            Metric Learning; TF-Similarity has 40).
        base: The similarity at which a pair's loss turns (lambda in the paper). Default
            0.5, as in the authors' code.
        epsilon: Slack of the mining, in units of similarity, or `None` for no mining, as
            PyTorch Metric Learning's loss without its miner. Default 0.1, the paper's.
        mask: Bool, shape `(rows,)`; rows where it is `False` are ignored. Default: all count.
        sample_weight: One weight per row, which it has as an anchor. Default: 1.

    Returns:
        A `LossTerm`. Its count is the weight of the anchors with a positive and a negative
        (with `epsilon=None`: with any pair); other libraries divide by all rows.

    Raises:
        TypeError: For labels that are neither integers, strings nor whole numbers, and for
            options that are tensors.
        ValueError: For shapes that do not fit, numbers that are not positive, and, except
            under XLA, for NaN labels and for weights that are NaN or negative.
        NotImplementedError: For a second derivative (its gradient is written by hand).

    Example:

    >>> term = multi_similarity(
    ...     [0, 0], [[1.0, 0.0], [0.0, 1.0]], alpha=1.0, base=0.0, epsilon=None
    ... )
    >>> round(float(term.total), 4), float(term.count)  # 2 * log(1 + exp(0))
    (1.3863, 2.0)

    Reference:
        Wang et al., "Multi-Similarity Loss with General Pair Weighting for Deep Metric
        Learning", 2019.
    """
    require_plain(alpha=alpha, beta=beta, base=base)
    require_positive("alpha", alpha)
    require_positive("beta", beta)
    if epsilon is not None:
        require_not_negative("epsilon", epsilon)
    batch = embeddings(y_true, y_pred, mask=mask, sample_weight=sample_weight)
    units = unit(batch.values)

    def losses(anchors: Anchors, values: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        positives, negatives = anchors.positives(), anchors.negatives()
        some_positive = tf.reduce_any(positives, 1)
        some_negative = tf.reduce_any(negatives, 1)
        if epsilon is None:
            usable = some_positive | some_negative
        else:
            usable = some_positive & some_negative
            infinity = tf.constant(float("inf"), values.dtype)
            lowest = tf.reduce_min(tf.where(positives, values, infinity), 1, keepdims=True)
            highest = tf.reduce_max(tf.where(negatives, values, -infinity), 1, keepdims=True)
            positives &= (values < highest + epsilon) & usable[:, None]
            negatives &= (values > lowest - epsilon) & usable[:, None]
        near, of_near = _log1p_sum_exp(-alpha * (values - base), positives)
        far, of_far = _log1p_sum_exp(beta * (values - base), negatives)
        return near / alpha + far / beta, usable, of_far - of_near

    return term_of_anchors(batch, of_products(losses), [units], [units])


def _log1p_sum_exp(values: tf.Tensor, pairs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """`log(1 + sum(exp(values)))` over each row's `pairs`, and its slopes."""
    high = tf.reduce_max(tf.where(pairs, values, tf.zeros_like(values)), 1, keepdims=True)
    high = tf.nn.relu(high)
    share = tf.where(pairs, tf.exp(values - high), tf.zeros_like(values))
    total = tf.exp(-high) + tf.reduce_sum(share, 1, keepdims=True)
    return (high + tf.math.log(total))[:, 0], share / total
