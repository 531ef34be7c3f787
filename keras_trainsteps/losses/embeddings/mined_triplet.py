"""Triplet loss of the triplets that a batch's labels make."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import tensorflow as tf

from keras_trainsteps import compat
from keras_trainsteps.losses.embeddings import mined_pairs
from keras_trainsteps.losses.embeddings.anchors import Anchors, by_tape, term_of_anchors
from keras_trainsteps.losses.embeddings.batch import embeddings
from keras_trainsteps.losses.embeddings.geometry import (
    Distance,
    comparable,
    count,
    distances,
    row_sum,
)
from keras_trainsteps.losses.embeddings.triplet import Normalize, as_margin, gap_loss
from keras_trainsteps.step.terms import LossTerm
from keras_trainsteps.validation import TensorLike, require_choice, require_plain

Mining = Literal["hard", "semihard", "all"]


def mined_triplet(
    y_true: TensorLike,
    y_pred: TensorLike,
    *,
    mining: Mining = "semihard",
    distance: Distance = "cosine",
    margin: float | None = None,
    soft_margin: bool = False,
    mask: TensorLike | None = None,
    sample_weight: TensorLike | None = None,
    normalize: Normalize = "triplets",
) -> LossTerm:
    """Triplet loss of triplets found in the batch by label.

    For labelled examples: every row is an anchor `a`, rows of its label are its positives
    `p`, rows of other labels its negatives `n`. Distances and sums are taken in float64
    and returned in float32; memory is linear in the rows (times the positives of the commonest
    label), time quadratic.

    ```
    loss(a, p, n) = max(0, d(a, p) - d(a, n) + margin), or log(1 + exp(d(a, p) - d(a, n)))
    ```

    - `mining="hard"`: for each anchor its farthest positive and its nearest negative.
    - `"semihard"`: for each anchor and positive the nearest negative that is farther than
      the positive, or else the farthest one (TensorFlow Addons' rule).
    - `"all"`: all triplets. The hinge takes `O(rows ** 2 log rows)` time, by sorting; the
      soft margin `O(rows ** 2)` for each positive of the commonest label.

    Args:
        y_true: Labels, integers or strings, shape `(rows,)` or `(rows, 1)`. Whole numbers
            in float32 and float64 are taken too, since Keras casts targets.
        y_pred: Embeddings, shape `(rows, dimensions)`.
        mining: `"hard"`, `"semihard"` (default, which does not collapse as early as
            `"hard"`) or `"all"`.
        distance: `"cosine"` (`1 - cos`, default), `"euclidean"` or `"squared_euclidean"`.
        margin: How much nearer the positive must be, in units of the distance, above 0.
            Default 0.1, which suits cosines.
        soft_margin: Whether to use the smooth form, which has no margin.
        mask: Bool, shape `(rows,)`; rows where it is `False` are ignored. Default: all count.
        sample_weight: One weight per row, which its triplets as an anchor have. Default: 1.
        normalize: `"triplets"` (default, since its value does not jump as triplets are
            solved): the weights of the mined triplets, as TensorFlow Addons divides.
            `"active"`: those of a loss above 0, as PyTorch Metric Learning divides.

    Returns:
        A `LossTerm`; its count is 0 where no anchor has both a positive and a negative.

    Raises:
        TypeError: For labels that are neither integers, strings nor whole numbers, and for
            a margin that is a tensor.
        ValueError: For shapes that do not fit, an unknown option, a margin that is not
            positive or comes with `soft_margin`, and, except under XLA, for NaN labels and
            for weights that are NaN or negative.
        NotImplementedError: For a second derivative (its gradient is written by hand).

    Example:

    >>> points = [[0.0], [1.0], [3.0]]
    >>> term = mined_triplet(
    ...     [0, 0, 1], points, mining="all", distance="euclidean", margin=1.5
    ... )
    >>> float(term.total), float(term.count)  # 1 - 3 + 1.5 < 0 and 1 - 2 + 1.5
    (0.5, 2.0)

    Reference:
        Schroff, Kalenichenko and Philbin, "FaceNet: A Unified Embedding for Face
        Recognition and Clustering", 2015 (semihard); Hermans, Beyer and Leibe, "In Defense
        of the Triplet Loss for Person Re-Identification", 2017 (hard, all, soft margin).
    """
    require_choice("mining", mining, Mining)
    require_choice("distance", distance, Distance)
    require_choice("normalize", normalize, Normalize)
    require_plain(margin=margin)
    margin = as_margin(margin, soft_margin)
    batch = embeddings(y_true, y_pred, mask=mask, sample_weight=sample_weight)
    values = comparable(batch.values, distance)
    mine = {"hard": _hard, "semihard": _semihard, "all": _all}[mining]

    def losses(
        anchors: Anchors, some: tf.Tensor, every: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        totals, triplets, active = mine(anchors, distances(some, every, distance), margin)
        return totals, triplets if normalize == "triplets" else active

    return term_of_anchors(batch, by_tape(losses), [values], [values])


Sums = tuple[tf.Tensor, tf.Tensor, tf.Tensor]  # losses, triplets, losses above 0; an anchor


def _hard(anchors: Anchors, distances: tf.Tensor, margin: float | None) -> Sums:
    positives, negatives = anchors.positives(), anchors.negatives()
    usable = tf.reduce_any(positives, 1) & tf.reduce_any(negatives, 1)
    farthest = tf.reduce_max(tf.where(positives, distances, _far(distances, -1)), 1)
    nearest = tf.reduce_min(tf.where(negatives, distances, _far(distances, 1)), 1)
    # Not infinity minus infinity where there is none of a kind.
    gap = tf.where(usable, farthest, tf.zeros_like(farthest)) - tf.where(
        usable, nearest, tf.zeros_like(nearest)
    )
    losses = gap_loss(gap, margin)
    losses = tf.where(usable, losses, tf.zeros_like(losses))
    return losses, _float(usable), _float(losses != 0)


def _semihard(anchors: Anchors, distances: tf.Tensor, margin: float | None) -> Sums:
    negatives = anchors.negatives()
    near = mined_pairs.in_order(distances, anchors.positives())
    pairs = near.exists & tf.reduce_any(negatives, 1, keepdims=True)
    chosen = mined_pairs.nearest_beyond(distances, near, negatives)
    gap = near.distances - tf.gather(distances, chosen, batch_dims=1)
    losses = gap_loss(tf.where(pairs, gap, tf.zeros_like(gap)), margin)
    active = pairs & (losses != 0)
    return row_sum(losses, pairs), count(pairs), count(active)


def _all(anchors: Anchors, distances: tf.Tensor, margin: float | None) -> Sums:
    positives, negatives = anchors.positives(), anchors.negatives()
    triplets = count(positives) * count(negatives)
    if margin is None:
        return _all_soft(distances, positives, negatives), triplets, triplets
    near = mined_pairs.in_order(distances, positives)
    reach = near.distances + margin
    within, beyond = mined_pairs.count_beyond(reach, distances, negatives)
    # The sum of `reach - distance` over the pairs where it is above 0.
    reached = row_sum(_float(within) * reach, near.exists)
    losses = reached - row_sum(_float(beyond) * distances, negatives)
    return losses, triplets, row_sum(_float(within), near.exists)


def _all_soft(distances: tf.Tensor, positives: tf.Tensor, negatives: tf.Tensor) -> tf.Tensor:
    """The smooth loss of all triplets: one positive of each anchor at a time."""
    ordered, number = _ordered(distances, positives)

    def compute(near: tf.Tensor, far: tf.Tensor) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        def add_losses(k: tf.Tensor, losses: tf.Tensor) -> tuple[tf.Tensor]:
            some, gap = _soft_triplets(near, far, negatives, number, k)
            return (losses + row_sum(tf.math.softplus(gap), some),)

        (losses,) = _over_positives(number, add_losses, tf.zeros((tf.shape(far)[0],), far.dtype))
        return [losses], [negatives, number]

    return _OF_ALL_SOFT(compute, ordered, distances)[0]


def _slopes_of_all_soft(
    upstream: tf.Tensor,
    near: tf.Tensor,
    far: tf.Tensor,
    negatives: tf.Tensor,
    number: tf.Tensor,
) -> Any:
    column = tf.range(tf.shape(near)[1])

    def add_slopes(
        k: tf.Tensor, of_near: tf.Tensor, of_far: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        some, gap = _soft_triplets(near, far, negatives, number, k)
        slopes = tf.where(some, tf.sigmoid(gap), tf.zeros_like(gap))
        slopes *= upstream[:, None]
        sums = tf.reduce_sum(slopes, 1, keepdims=True)
        sums = tf.where(column == k, sums, tf.zeros_like(sums))
        return of_near + sums, of_far - slopes

    return _over_positives(number, add_slopes, tf.zeros_like(near), tf.zeros_like(far))


_OF_ALL_SOFT = compat.HandGradient("mined_triplet.all_soft", _slopes_of_all_soft, inputs=2)


def _soft_triplets(
    near: tf.Tensor, far: tf.Tensor, negatives: tf.Tensor, number: tf.Tensor, k: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """The triplets of each anchor's positive number `k`: which there are, and their gaps."""
    some = negatives & (k < number)[:, None]
    gap = tf.where(some, tf.gather(near, k, axis=1)[:, None] - far, tf.zeros_like(far))
    return some, gap


def _over_positives(number: tf.Tensor, add: Callable[..., Any], *start: tf.Tensor) -> Any:
    """`add(k, *values)` for each positive `k` of any anchor."""
    most = tf.reduce_max(tf.pad(number, [[0, 1]]))
    return tf.while_loop(
        lambda k, *_: k < most, lambda k, *values: (k + 1, *add(k, *values)), (0, *start)
    )[1:]


def _ordered(distances: tf.Tensor, pairs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The distances of each anchor's `pairs`, ascending, then infinity; their number."""
    # One column more than rows: the gradient of sorting fails without any column.
    distances = tf.where(pairs, distances, _far(distances, 1))
    distances = tf.pad(distances, [[0, 0], [0, 1]], constant_values=float("inf"))
    return tf.sort(distances, axis=1), tf.reduce_sum(tf.cast(pairs, tf.int32), 1)


def _far(distances: tf.Tensor, sign: int) -> tf.Tensor:
    return tf.constant(sign * float("inf"), distances.dtype)


def _float(value: tf.Tensor) -> tf.Tensor:
    return tf.cast(value, tf.float64)
