"""Running log-sums of exponentials within segments of sorted rows."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from keras_trainsteps import compat
from keras_trainsteps.losses.ranking.dense import DenseLists, dense_lists


def log_cumsum_exp(
    values: tf.Tensor,
    segment: tf.Tensor,
    *,
    reverse: bool = False,
    segments: tf.Tensor | None = None,
) -> tf.Tensor:
    """`log(sum(exp(values)))` over the rows of a segment up to each row, itself included.

    Nothing is ever subtracted, so nothing cancels: a result is a sum of exponentials where
    these are near each other, else a tree of `log(exp(a) + exp(b))` of depth `log2(rows)`.

    Args:
        values: Float tensor, shape `(rows,)`.
        segment: Integer tensor, shape `(rows,)`; the rows of a segment are adjacent.
        reverse: Whether to run from each row to the end of its segment instead.
        segments: The number of segments, where they are `0 .. segments - 1` in this order.
    """

    def compute(values: tf.Tensor) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        lists = () if compat.in_xla() else dense_lists(segment, segments)
        sums = (_backward if reverse else _forward)(values, segment, *lists)
        return [sums], [sums, segment, *lists]

    return _OF_SCAN[reverse](compute, values)[0]


def take(values: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
    """`values[index]` for a `(rows,)` tensor, with a dense gradient.

    The sparse one of `tf.gather` warns wherever it is made dense in a graph whose batch
    size is unknown.
    """
    return _OF_TAKE(lambda values: ([tf.gather(values, index)], [index]), values)[0]


def sum_by(values: tf.Tensor, index: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
    """The sum of the `(rows,)` values of each index, shape `(number,)`; index -1 is left out.

    What is left out must be 0, whose slope is then cut off before.
    """

    def compute(values: tf.Tensor) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        return [tf.math.unsorted_segment_sum(values, index, number)], [index]

    return _OF_SUM(compute, values)[0]


def log_add_exp(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """`log(exp(a) + exp(b))`, minus infinity included."""
    gap = tf.where(a == b, tf.zeros_like(a), tf.abs(a - b))
    return tf.maximum(a, b) + tf.math.log1p(tf.exp(-gap))


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
def _forward(*given: tf.Tensor) -> tf.Tensor:
    return _log_sums(*given, reverse=False)


@compat.traced_once
def _backward(*given: tf.Tensor) -> tf.Tensor:
    return _log_sums(*given, reverse=True)


def _slopes(
    upstream: tf.Tensor,
    values: tf.Tensor,
    sums: tf.Tensor,
    segment: tf.Tensor,
    *lists: tf.Tensor,
    reverse: bool,
) -> tf.Tensor:
    # d(values[j]) = exp(values[j]) * sum over the sums i that hold j of
    # upstream[i] / exp(sums[i]).
    top = tf.reduce_max(values)

    def far() -> tf.Tensor:
        # Both signs of upstream apart, to stay in logs.
        parts = [
            tf.exp(values + _scan(log_add_exp, _log_share(part, sums), segment, reverse))
            for part in (tf.maximum(upstream, 0), tf.maximum(-upstream, 0))
        ]
        return parts[0] - parts[1]

    found: tf.Tensor = tf.cond(
        _are_near(values),
        lambda: (
            tf.exp(values - top) * _sums(upstream * tf.exp(top - sums), segment, lists, reverse)
        ),
        far,
    )
    return found


@compat.traced_once
def _slopes_of_forward(*given: tf.Tensor) -> tf.Tensor:
    return _slopes(*given, reverse=True)


@compat.traced_once
def _slopes_of_backward(*given: tf.Tensor) -> tf.Tensor:
    return _slopes(*given, reverse=False)


_OF_SCAN = {
    False: compat.HandGradient("log_cumsum_exp.forward", _slopes_of_forward),
    True: compat.HandGradient("log_cumsum_exp.backward", _slopes_of_backward),
}


def _slopes_of_take(upstream: tf.Tensor, values: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
    return tf.math.unsorted_segment_sum(upstream, index, tf.shape(values)[0])


def _slopes_of_sum(upstream: tf.Tensor, values: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
    return take(upstream, tf.maximum(index, 0))


_OF_SUM = compat.HandGradient("sum_by", _slopes_of_sum, twice=True)
_OF_TAKE = compat.HandGradient("take", _slopes_of_take, twice=True)


def _log_share(part: tf.Tensor, sums: tf.Tensor) -> tf.Tensor:
    # An empty share is log 0, also where the sum is log 0 itself.
    share = tf.math.log(tf.where(part == 0, tf.ones_like(part), part)) - sums
    return tf.where(part == 0, tf.constant(-float("inf"), part.dtype), share)


def _log_sums(
    values: tf.Tensor, segment: tf.Tensor, *lists: tf.Tensor, reverse: bool
) -> tf.Tensor:
    top = tf.reduce_max(values)
    found: tf.Tensor = tf.cond(
        _are_near(values),
        lambda: tf.math.log(_sums(tf.exp(values - top), segment, lists, reverse)) + top,
        lambda: _scan(log_add_exp, values, segment, reverse),
    )
    return found


def _are_near(values: tf.Tensor) -> tf.Tensor:
    """Whether no exponential vanishes beside another, nor the inverse of one overflows."""
    furthest = 600.0 if values.dtype == tf.float64 else 60.0
    return tf.reduce_max(values) - tf.reduce_min(values) <= furthest


def _sums(
    values: tf.Tensor, segment: tf.Tensor, lists: tuple[tf.Tensor, ...], reverse: bool
) -> tf.Tensor:
    """The sum over the rows of a segment up to each row; nothing is ever subtracted."""
    if not lists:
        return _scan(tf.add, values, segment, reverse)
    dense = DenseLists(*lists)
    room = tf.cast(4 * tf.size(values) + 1024, tf.float64)
    found: tf.Tensor = tf.cond(
        dense.cells(1) <= room,
        lambda: dense.collect(tf.cumsum(dense.spread(values), axis=1, reverse=reverse)),
        lambda: _scan(tf.add, values, segment, reverse),
    )
    return found


def _scan(
    add: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
    values: tf.Tensor,
    segment: tf.Tensor,
    reverse: bool,
) -> tf.Tensor:
    """Doubling: after step k each row holds the 2**k rows on its side of the segment."""
    rows = tf.shape(values)[0]
    row = tf.range(rows)

    def double(
        step: tf.Tensor, _: tf.Tensor, sums: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        shift = -step if reverse else step
        inside = row + step < rows if reverse else row >= step
        joined = inside & (tf.roll(segment, shift, 0) == segment)
        added = add(sums, tf.roll(sums, shift, 0))
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
