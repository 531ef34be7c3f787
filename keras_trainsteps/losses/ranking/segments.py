"""Running log-sums of exponentials within segments of sorted rows."""

from __future__ import annotations

import functools
from collections.abc import Callable

import tensorflow as tf

from keras_trainsteps import compat


def log_cumsum_exp(values: tf.Tensor, segment: tf.Tensor, *, reverse: bool = False) -> tf.Tensor:
    """`log(sum(exp(values)))` over the rows of a segment up to each row, itself included.

    Nothing is ever subtracted, so nothing cancels: each result is a tree of
    `log(exp(a) + exp(b))`, of depth `log2(rows)`, whatever the spread of the values.

    Args:
        values: Float tensor, shape `(rows,)`.
        segment: Integer tensor, shape `(rows,)`; the rows of a segment are adjacent.
        reverse: Whether to run from each row to the end of its segment instead.
    """

    def compute(values: tf.Tensor) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        sums = (_backward if reverse else _forward)(values, segment)
        return [sums], [sums, segment]

    return _OF_SCAN[reverse](compute, values)[0]


def take(values: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
    """`values[index]` for a `(rows,)` tensor, with a dense gradient.

    The sparse one of `tf.gather` warns wherever it is made dense in a graph whose batch
    size is unknown.
    """
    return _OF_TAKE(lambda values: ([tf.gather(values, index)], [index]), values)[0]


def log_add_exp(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """`log(exp(a) + exp(b))`, minus infinity included."""
    gap = tf.where(a == b, tf.zeros_like(a), tf.abs(a - b))
    return tf.maximum(a, b) + tf.math.log1p(tf.exp(-gap))


def order_by(*keys: tf.Tensor) -> tf.Tensor:
    """The stable order of rows by the first key, then by the second, and so on."""
    order = tf.argsort(keys[-1], stable=True)
    for key in reversed(keys[:-1]):
        order = tf.gather(order, tf.argsort(tf.gather(key, order), stable=True))
    return order


def places(order: tf.Tensor) -> tf.Tensor:
    """For each row its place in `order`, an order of all rows."""
    shape = tf.shape(order)
    return tf.scatter_nd(tf.expand_dims(order, 1), tf.range(shape[0]), shape)


def last_row_of_run(*keys: tf.Tensor) -> tf.Tensor:
    """For each row the last row of its run of equal keys, as an index; int32."""
    rows = tf.shape(keys[0])[0]
    new = tf.zeros_like(keys[0][1:], tf.bool)
    for key in keys:
        new |= key[1:] != key[:-1]
    run = tf.concat([tf.zeros((tf.minimum(rows, 1),), tf.int32), tf.cumsum(_int(new))], 0)
    last = tf.math.unsorted_segment_max(tf.range(rows), run, rows)
    return tf.gather(last, run)


@compat.traced_once
def _forward(values: tf.Tensor, segment: tf.Tensor) -> tf.Tensor:
    return _scan(values, segment, reverse=False)


@compat.traced_once
def _backward(values: tf.Tensor, segment: tf.Tensor) -> tf.Tensor:
    return _scan(values, segment, reverse=True)


def _slopes_of_scan(
    scan: Callable[..., tf.Tensor],
    upstream: tf.Tensor,
    values: tf.Tensor,
    sums: tf.Tensor,
    segment: tf.Tensor,
) -> tf.Tensor:
    # d(values[j]) = exp(values[j]) * sum over the sums i that hold j of
    # upstream[i] / exp(sums[i]); both signs of upstream apart, to stay in logs.
    parts = [
        tf.exp(values + scan(_log_share(part, sums), segment))
        for part in (tf.maximum(upstream, 0), tf.maximum(-upstream, 0))
    ]
    return parts[0] - parts[1]


_OF_SCAN = {
    reverse: compat.HandGradient(
        f"log_cumsum_exp.{'backward' if reverse else 'forward'}",
        functools.partial(_slopes_of_scan, _forward if reverse else _backward),
    )
    for reverse in (False, True)
}


def _slopes_of_take(upstream: tf.Tensor, values: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
    return tf.math.unsorted_segment_sum(upstream, index, tf.shape(values)[0])


_OF_TAKE = compat.HandGradient("take", _slopes_of_take, twice=True)


def _log_share(part: tf.Tensor, sums: tf.Tensor) -> tf.Tensor:
    # An empty share is log 0, also where the sum is log 0 itself.
    share = tf.math.log(tf.where(part == 0, tf.ones_like(part), part)) - sums
    return tf.where(part == 0, tf.constant(-float("inf"), part.dtype), share)


def _scan(values: tf.Tensor, segment: tf.Tensor, reverse: bool) -> tf.Tensor:
    """Doubling: after step k each row holds the 2**k rows on its side of the segment."""
    rows = tf.shape(values)[0]
    row = tf.range(rows)

    def double(
        step: tf.Tensor, _: tf.Tensor, sums: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        shift = -step if reverse else step
        inside = row + step < rows if reverse else row >= step
        joined = inside & (tf.roll(segment, shift, 0) == segment)
        added = log_add_exp(sums, tf.roll(sums, shift, 0))
        return 2 * step, tf.reduce_any(joined), tf.where(joined, added, sums)

    more = tf.constant(True)
    _, _, sums = tf.while_loop(
        lambda step, more, sums: more & (step < rows),
        double,
        (tf.constant(1), more, values),
    )
    return sums


def _int(value: tf.Tensor) -> tf.Tensor:
    return tf.cast(value, tf.int32)
