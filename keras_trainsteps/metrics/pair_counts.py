"""How many pairs of rows two columns order alike, by query: exact, in `rows * log(rows)` time."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from keras_trainsteps.pairs.reduce import sum_by_group
from keras_trainsteps.queries import query_order


class PairCounts(NamedTuple):
    """Unordered pairs of rows of each query; int64, shape `(num_queries,)`.

    Attributes:
        pairs: All pairs.
        tied_a: Those of equal `a`.
        tied_b: Those of equal `b`.
        tied_both: Those of equal `a` and equal `b`.
        discordant: Those that `a` orders one way and `b` the other.
    """

    pairs: tf.Tensor
    tied_a: tf.Tensor
    tied_b: tf.Tensor
    tied_both: tf.Tensor
    discordant: tf.Tensor


def pair_counts(
    query: tf.Tensor, a: tf.Tensor, b: tf.Tensor, num_queries: tf.Tensor
) -> PairCounts:
    """The pairs of two columns, by query; memory is linear in the rows.

    Args:
        query: Query index of each row, int32, shape `(rows,)`; -1 for a row of no query.
        a: Numbers, not NaN, shape `(rows,)`.
        b: Numbers, not NaN, shape `(rows,)`.
        num_queries: A scalar above every index.

    Reference:
        Knight, "A computer method for calculating Kendall's tau with ungrouped data", 1966.
    """
    order = query_order(query, b)
    group, a, b = (tf.gather(value, order) for value in (query + 1, a, b))
    new_group = _changes(group)
    first, end = _runs(new_group)[0], _ends(new_group)
    first_b, of_b = _runs(new_group | _changes(b))
    # Sorted by query already: what follows moves rows within their queries alone.
    order = query_order(group, a)
    a, rank = tf.gather(a, order), tf.gather(of_b - tf.gather(of_b, first), order)
    new_a = new_group | _changes(a)
    place = tf.range(tf.size(group))
    by_row = (
        place - first,
        place - _runs(new_a)[0],
        place - first_b,
        place - _runs(new_a | _changes(rank))[0],
    )
    sums = [tf.cast(value, tf.int64) for value in by_row]
    sums.append(_inversions(rank, first, end))
    return PairCounts(*(sum_by_group(value, group - 1, num_queries) for value in sums))


def _changes(values: tf.Tensor) -> tf.Tensor:
    """Whether each row differs from the one before; the first does."""
    start = tf.ones_like(values[:1], tf.bool)
    return tf.concat([start, values[1:] != values[:-1]], 0)


def _runs(new: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """For each row the first row of its run, and the number of the run, from 0."""
    run = tf.cumsum(tf.cast(new, tf.int32)) - 1
    place = tf.range(tf.size(run))
    starts = tf.math.unsorted_segment_min(place, run, tf.size(run))
    return tf.gather(starts, run), run


def _ends(new: tf.Tensor) -> tf.Tensor:
    """For each row the row after the last one of its run."""
    _, run = _runs(new)
    sizes = tf.math.unsorted_segment_sum(tf.ones_like(run), run, tf.size(run))
    return tf.gather(tf.cumsum(sizes), run)


def _inversions(rank: tf.Tensor, start: tf.Tensor, end: tf.Tensor) -> tf.Tensor:
    """For each place of a run `start .. end - 1` some of its pairs with the larger rank first.

    Two ranks differ first in one bit, so each pair is counted once: in the node of the rows
    whose higher bits are equal. The rows of a node keep their order, and those whose bit is
    0 are moved before the others; the two halves are the nodes of the next bit.
    """
    place = tf.range(tf.size(rank))
    bits = tf.reduce_sum(tf.cast(tf.reduce_max(rank) >= 2 ** tf.range(31), tf.int32))

    def count(
        bit: tf.Tensor, rank: tf.Tensor, start: tf.Tensor, end: tf.Tensor, found: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        large = tf.bitwise.bitwise_and(tf.bitwise.right_shift(rank, bit), 1)
        so_far = tf.pad(tf.cumsum(large), [[1, 0]])
        at_start = tf.gather(so_far, start)
        before = so_far[:-1] - at_start
        middle = end - (tf.gather(so_far, end) - at_start)
        is_large = large == 1
        found += tf.cast(tf.where(is_large, 0, before), tf.int64)
        moved = tf.where(is_large, middle + before, place - before)
        rank = tf.math.unsorted_segment_sum(rank, moved, tf.size(rank))  # a faster scatter
        in_lower = place < middle
        start, end = tf.where(in_lower, start, middle), tf.where(in_lower, middle, end)
        return bit - 1, rank, start, end, found

    found = tf.zeros_like(rank, tf.int64)
    start_with = (bits - 1, rank, start, end, found)
    return tf.while_loop(lambda bit, *_: bit >= 0, count, start_with)[-1]
