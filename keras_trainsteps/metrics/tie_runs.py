"""Relevant rows among equal scores: what a mean over the orders of ties is made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from keras_trainsteps import compat
from keras_trainsteps.metrics.ranked_rows import RankedRows
from keras_trainsteps.pairs.reduce import count_by_group, sum_by_group


class TieRuns(NamedTuple):
    """What each row's run of equal scores holds; float64, shape `(rows,)`.

    Attributes:
        size: Rows of the run.
        relevant: Relevant rows of the run.
        above: Relevant rows of the query that rank above the run.
        offset: Place of the row in the run, from 0.
    """

    size: tf.Tensor
    relevant: tf.Tensor
    above: tf.Tensor
    offset: tf.Tensor


def tie_runs(ranked: RankedRows) -> TieRuns:
    """The runs of equal scores, of one row each where ties are not averaged."""
    seen = tf.cumsum(ranked.relevant, exclusive=True)
    before = tf.math.unsorted_segment_min(seen, ranked.query, ranked.num_queries)
    above = seen - ranked.at_rows(before)

    def untied() -> TieRuns:
        ones = tf.ones_like(above)
        return TieRuns(ones, ranked.relevant, above, tf.zeros_like(ones))

    def tied(tie: tf.Tensor) -> TieRuns:
        runs = tf.size(tie)
        place = tf.range(runs)
        first = tf.gather(tf.math.unsorted_segment_min(place, tie, runs), tie)
        size = tf.gather(count_by_group(tie, runs), tie)
        relevant = tf.gather(sum_by_group(ranked.relevant, tie, runs), tie)
        offset = tf.cast(place - first, tf.float64)
        return TieRuns(tf.cast(size, tf.float64), relevant, tf.gather(above, first), offset)

    return TieRuns(*ranked.with_ties(tied, untied))


def at_first_relevant(
    ranked: RankedRows, of_rank: Callable[[tf.Tensor], tf.Tensor]
) -> tuple[tf.Tensor, tf.Tensor]:
    """A function of the rank of the first relevant row of each query, and whether it has one.

    Args:
        ranked: The rows.
        of_rank: A function of ranks that is 0 for infinity: the rank of what is not there.
    """
    infinity = tf.constant(float("inf"), tf.float64)
    last = tf.cast(tf.size(ranked.rank), tf.float64)
    # What is not retrieved comes after the last rank, and what is not there still later.
    ranks = tf.where(ranked.retrieved, ranked.rank, last + 1)
    ranks = tf.where(ranked.relevant > 0, ranks, infinity)
    first = tf.math.unsorted_segment_min(ranks, ranked.query, ranked.num_queries)
    some = first <= last + 1
    first = tf.where(first <= last, first, infinity)
    value = ranked.with_ties(
        lambda _: ranked.sum(ranked.of_retrieved(_first_relevant(ranked) * of_rank(ranked.rank))),
        lambda: of_rank(first),
    )
    return value, some


def running_products(ranked: RankedRows, values: tf.Tensor) -> tf.Tensor:
    """The product of the rows of a query up to each row, itself included."""
    longest = tf.reduce_max(tf.concat([ranked.rank, tf.zeros((1,), tf.float64)], 0))
    offset = ranked.rank - 1
    if compat.in_xla():
        return _running_product(values, offset, longest)
    room = tf.cast(4 * tf.size(values) + 1024, tf.float64)
    found: tf.Tensor = tf.cond(
        tf.cast(ranked.num_queries, tf.float64) * longest <= room,
        lambda: _product_in_lists(values, offset, ranked.query, ranked.num_queries, longest),
        lambda: _running_product(values, offset, longest),
    )
    return found


def symmetric_means(ranked: RankedRows, tie: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """What `running_products` is as a mean over the orders of each run of equal scores.

    The mean of the products of `j` of the first `t` rows of a run is
    `E(t, j) = (t - j) / t * E(t - 1, j) + j / t * v_t * E(t - 1, j - 1)`.
    """
    place = tf.range(tf.size(tie))
    first = tf.gather(tf.math.unsorted_segment_min(place, tie, tf.size(tie)), tie)
    size = tf.gather(count_by_group(tie, tf.size(tie)), tie)
    number = tf.cast(place - first + 1, tf.float64)

    def join(step: tf.Tensor, means: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        share = number / tf.cast(step, tf.float64)
        joins = tf.gather(values, tf.minimum(first + step - 1, tf.size(tie) - 1))
        before = tf.where(number > 1, tf.roll(means, 1, 0), tf.ones_like(means))
        joined = tf.maximum(1 - share, 0) * means + share * joins * before
        inside = (step <= size) & (place - first < step)
        return step + 1, tf.where(inside, joined, means)

    longest = tf.reduce_max(tf.concat([size, [0]], 0))
    start = (tf.constant(1), tf.zeros_like(values))
    means = tf.while_loop(lambda step, _: step <= longest, join, start)[1]
    # All rows of the runs above, whatever their order: the product is that of each run's last.
    whole = tf.where(number == tf.cast(size, tf.float64), means, tf.ones_like(means))
    above = running_products(ranked, tf.where(ranked.rank > 1, tf.roll(whole, 1, 0), 1.0))
    return means * tf.gather(above, first)


def _first_relevant(ranked: RankedRows) -> tf.Tensor:
    """The probability that the first relevant row of its query is at a row's place.

    In a run of `m` rows, `r` of them relevant, it is
    `r / (m - j) * prod_{i < j} (m - r - i) / (m - i)` at offset `j`.
    """
    runs = tie_runs(ranked)
    left = runs.size - runs.offset
    missed = tf.maximum(left + 1 - runs.relevant, 0) / (left + 1)
    missed = tf.where(runs.offset == 0, tf.ones_like(missed), missed)
    matters = (runs.above == 0) & (runs.relevant > 0)
    # At offset `j` the product is at most `exp(-j * r / m)`: below 1e-30 it does not matter.
    needed = tf.math.divide_no_nan(70 * runs.size, runs.relevant)
    needed = tf.where(matters, tf.minimum(runs.size, tf.math.ceil(needed)), tf.zeros_like(needed))
    length = tf.reduce_max(tf.concat([needed, tf.zeros((1,), tf.float64)], 0))
    if compat.in_xla():
        product = _running_product(missed, runs.offset, length)
    else:
        room = tf.cast(4 * tf.size(missed) + 1024, tf.float64)
        product = tf.cond(
            tf.cast(ranked.num_queries, tf.float64) * length <= room,
            lambda: _product_in_lists(
                missed,
                runs.offset,
                tf.where(matters, ranked.query, -1),
                ranked.num_queries,
                length,
            ),
            lambda: _running_product(missed, runs.offset, length),
        )
    return tf.where(matters, runs.relevant / left * product, tf.zeros_like(product))


def _product_in_lists(
    values: tf.Tensor, offset: tf.Tensor, query: tf.Tensor, queries: tf.Tensor, length: tf.Tensor
) -> tf.Tensor:
    """The product of the rows of one run of each query up to each row; 0 past `length`."""
    inside = (query >= 0) & (offset < length)
    width = tf.cast(length, tf.int32)
    cell = tf.where(inside, query * width + tf.cast(offset, tf.int32), -1)
    lists = tf.math.unsorted_segment_sum(values, cell, queries * width)
    products = tf.math.cumprod(tf.reshape(lists, (queries, width)), axis=1)
    none = tf.zeros((1,), values.dtype)
    return tf.gather(tf.concat([none, tf.reshape(products, (-1,))], 0), cell + 1)


def _running_product(values: tf.Tensor, offset: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
    """The product of a run's rows up to each row, or of at least `length` of them."""

    def double(step: tf.Tensor, products: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # After a step of `n` a row holds the product of `2 n` rows, or of all from the first on.
        before = tf.roll(products, tf.cast(step, tf.int32), 0)
        return 2 * step, tf.where(offset >= step, products * before, products)

    start = (tf.constant(1.0, tf.float64), values)
    return tf.while_loop(lambda step, _: step < length, double, start)[1]
