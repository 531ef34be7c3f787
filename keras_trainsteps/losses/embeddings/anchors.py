"""Losses of anchors against all rows, some anchors at a time.

All pairs of a large batch fit no memory: of 16,384 rows one float32 a pair takes 1 GiB, and a
loss holds ten. What an anchor's loss needs is one row of that matrix. So up to `_ANCHORS` rows
of it are made at a time, and with them the slopes of their losses by everything that they are
made of, which are all that is kept: memory is linear in the rows, and what lies in the cache
is used while it does. The gradient is those slopes times one number, so it has no derivative
in its turn.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from keras_trainsteps import compat
from keras_trainsteps.losses.embeddings.batch import Embeddings
from keras_trainsteps.losses.embeddings.geometry import products
from keras_trainsteps.queries import count_scale
from keras_trainsteps.step.terms import LossTerm

_ANCHORS, _FEWEST = 256, 32
_PAIRS = 2**21  # of a tile: 16 MiB a float64 tensor, while `_FEWEST` anchors have no more


class Anchors(NamedTuple):
    """Some rows as anchors, beside all rows of a batch.

    Attributes:
        row: Their numbers, int32, shape `(anchors,)`.
        label: Their labels.
        valid: Whether they are not masked.
        batch: All rows.
    """

    row: tf.Tensor
    label: tf.Tensor
    valid: tf.Tensor
    batch: Embeddings

    def positives(self) -> tf.Tensor:
        """Pairs of two rows of one label, bool, shape `(anchors, rows)`."""
        return self.of_label() & self.others()

    def negatives(self) -> tf.Tensor:
        """Pairs of rows of different labels, bool, shape `(anchors, rows)`."""
        return ~self.of_label() & self.valid[:, None] & self.batch.valid

    def of_label(self) -> tf.Tensor:
        """Pairs of an anchor with a row of its label, bool, shape `(anchors, rows)`."""
        return self.label[:, None] == self.batch.labels

    def others(self) -> tf.Tensor:
        """Pairs of two rows, neither of them masked, bool, shape `(anchors, rows)`."""
        return self.valid[:, None] & self.batch.valid & ~self.themselves()

    def themselves(self) -> tf.Tensor:
        """Pairs of an anchor with its own row, bool, shape `(anchors, rows)`."""
        return self.row[:, None] == tf.range(tf.shape(self.batch.labels)[0])


Tile = Callable[..., tuple[tf.Tensor, tf.Tensor, Sequence[tf.Tensor]]]
"""`(anchors, weight, *of_anchors, *of_all) -> (totals, counts, slopes)`: total and count of each
anchor, and the slopes of the weighted sum of the totals by all that follows `weight`."""


def by_tape(loss: Callable[..., tuple[tf.Tensor, tf.Tensor]]) -> Tile:
    """The tile of a loss `(anchors, *of_anchors, *of_all) -> (totals, counts)`."""

    def tile(
        anchors: Anchors, weight: tf.Tensor, *given: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, Sequence[tf.Tensor]]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(given)
            totals, counts = loss(anchors, *given)
            total = tf.reduce_sum(tf.cast(totals, tf.float64) * weight)
        return totals, counts, tape.gradient(total, given, unconnected_gradients="zero")

    return tile


def of_products(
    loss: Callable[[Anchors, tf.Tensor], tuple[tf.Tensor, tf.Tensor, tf.Tensor]],
) -> Tile:
    """The tile of a loss of products, which gives their slopes as well.

    Args:
        loss: `(anchors, products) -> (totals, counts, slopes)`, with the products of anchors and
            all rows, and the slope of each anchor's total by each, shape `(anchors, rows)`.
            Where anchors have vectors of their own, shape `(anchors, vectors, dimensions)`,
            the products with these come last.
    """

    def tile(
        anchors: Anchors, weight: tf.Tensor, left: tf.Tensor, *others: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, Sequence[tf.Tensor]]:
        *own, right = others
        logits = products(left, right)
        if own:
            logits = tf.concat([logits, tf.linalg.matvec(own[0], left)], 1)
        totals, counts, slopes = loss(anchors, logits)
        weight = tf.cast(weight, left.dtype)[:, None]
        of_all = slopes[:, : tf.shape(right)[0]] if own else slopes
        of_left = tf.matmul(of_all, right)
        of_right = tf.matmul(of_all, weight * left, transpose_a=True)
        if not own:
            return totals, counts, [weight * of_left, of_right]
        of_each = slopes[:, tf.shape(right)[0] :]
        of_left += tf.linalg.matvec(own[0], of_each, transpose_a=True)
        of_own = of_each[:, :, None] * (weight * left)[:, None, :]
        return totals, counts, [weight * of_left, of_own, of_right]

    return tile


# AutoGraph would rewrite every function it meets: seconds a trace, and nothing to rewrite.
@tf.autograph.experimental.do_not_convert
def term_of_anchors(
    batch: Embeddings, tile: Tile, of_anchors: Sequence[tf.Tensor], of_all: Sequence[tf.Tensor]
) -> LossTerm:
    """The term of a loss of each anchor.

    Args:
        batch: All rows; each is an anchor.
        tile: The loss of some anchors.
        of_anchors: What it takes of these alone, each of one entry a row.
        of_all: What it takes of all rows.

    Returns:
        Its term, differentiable once by all of these and by the weights.
    """
    weight = batch.weight * count_scale(tf.reduce_max(batch.weight))
    given = [*of_anchors, *of_all, weight]
    fixed = [tf.stop_gradient(value) for value in given]
    last = len(of_anchors)
    totals, counts, slopes = _in_turn(batch, tile, fixed[:last], fixed[last:-1], fixed[-1])
    totals_of_own = totals if batch.owned is None else tf.where(batch.owned, totals, 0.0)
    total = tf.reduce_sum(totals_of_own * fixed[-1])
    (total,) = _slopes_of(len(given))(lambda *_: ([total], [*slopes, totals]), *given)
    return batch.term(total / count_scale(tf.reduce_max(batch.weight)), counts)


def _in_turn(
    batch: Embeddings,
    tile: Tile,
    of_anchors: Sequence[tf.Tensor],
    of_all: Sequence[tf.Tensor],
    weight: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
    """Total and count of each anchor, and the slopes of their weighted sum."""
    rows, height = _sizes(batch.labels)
    steps = -(-rows // height)
    missing = steps * height - rows

    def in_tiles(value: tf.Tensor) -> tf.Tensor:
        """Rows, `height` at a time; what fills the last ones up is masked."""
        filled = tf.pad(value, [[0, missing]] + [[0, 0]] * (value.shape.rank - 1))
        return tf.reshape(filled, (steps, height, *_width(value, 1)))

    def as_rows(value: tf.Tensor) -> tf.Tensor:
        return tf.reshape(value, (steps * height, *_width(value, 2)))[:rows]

    by_tile = [in_tiles(value) for value in of_anchors]
    label, valid, weights = in_tiles(batch.labels), in_tiles(batch.valid), in_tiles(weight)

    def add_anchors(step: tf.Tensor, sums: tf.Tensor, *slopes: tf.Tensor) -> tuple[Any, ...]:
        row = step * height + tf.range(height)
        anchors = Anchors(row, tf.gather(label, step), tf.gather(valid, step), batch)
        some = [tf.gather(values, step) for values in by_tile]
        totals, counts, added = tile(anchors, tf.gather(weights, step), *some, *of_all)
        totals = tf.cast(totals, tf.float64)
        both = tf.stack([totals, tf.cast(counts, tf.float64)], 1)
        first, last = slopes[: len(some)], slopes[len(some) :]
        return (
            step + 1,
            _put(sums, step, both),
            *(_put(slope, step, more) for slope, more in zip(first, added, strict=False)),
            *(slope + more for slope, more in zip(last, added[len(some) :], strict=True)),
        )

    zeros = [tf.zeros_like(value) for value in (*by_tile, *of_all)]
    start = tf.constant(0), tf.zeros((steps, height, 2), tf.float64), *zeros
    _, sums, *slopes = tf.while_loop(lambda step, *_: step < steps, add_anchors, start)
    totals, counts = tf.unstack(as_rows(sums), axis=1)
    number = len(by_tile)
    return totals, counts, [as_rows(slope) for slope in slopes[:number]] + slopes[number:]


def _sizes(labels: tf.Tensor) -> tuple[Any, Any]:
    """The number of rows, and of anchors at a time: numbers, where tracing knows them."""
    rows = labels.shape[0]
    if rows is not None:
        return rows, max(1, min(rows, _ANCHORS, max(_FEWEST, _PAIRS // max(rows, 1))))
    rows = tf.shape(labels)[0]
    most = tf.clip_by_value(_PAIRS // tf.maximum(rows, 1), _FEWEST, _ANCHORS)
    return rows, tf.clip_by_value(rows, 1, most)


def _width(value: tf.Tensor, axis: int) -> tuple[Any, ...]:
    """The sizes of the axes from `axis` on; replicas do not know theirs of what they gather."""
    known = value.shape[axis:]
    sizes = tf.shape(value)
    return tuple(
        sizes[axis + place] if size is None else size for place, size in enumerate(known)
    )


def _put(values: tf.Tensor, step: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
    return tf.tensor_scatter_nd_update(values, [[step]], value[None])


@functools.cache
def _slopes_of(number: int) -> compat.HandGradient:
    """The gradient of a total by so many tensors: slopes times what arrives."""

    def times(upstream: tf.Tensor, *given: tf.Tensor) -> list[tf.Tensor]:
        return [tf.cast(upstream, slope.dtype) * slope for slope in given[number:]]

    return compat.HandGradient(f"anchors.{number}", times, inputs=number)
