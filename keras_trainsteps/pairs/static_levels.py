"""The pairs of long queries with static shapes, a few label levels at a time.

As `levels.py` has it, labels are ranked, ranks are written in base `LEVELS`, and the pairs of
rows that differ first in one digit are summed together. Here rows keep their places: those of
a group that is short, or that the method does not sum accurately, are only marked as left to
be summed pair by pair, and all groups that are none are one more group, of weight 0.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from .levels import LEVELS, Levels, LevelSums, counts_of, leading_scale
from .reduce import count_by_group, sum_by_group
from .rules import PairRows
from .static_tiles import first_of, last_of, size_of


class LongQueries(NamedTuple):
    """What has been summed, and what is left.

    Attributes:
        totals: The total of each query, float64.
        counts: The count of each query.
        slope: The slope of each row.
        left: Where the group begins that each row is left in, -1 for none.
    """

    totals: tf.Tensor
    counts: tf.Tensor
    slope: tf.Tensor
    left: tf.Tensor


class Ranks(NamedTuple):
    """Rows in an order in which those of a group lie together, or nearly so.

    Attributes:
        order: Numbers of the rows.
        rank: The rank of the label of each row, in this order.
        distinct: A number above every rank.
    """

    order: tf.Tensor
    rank: tf.Tensor
    distinct: tf.Tensor


def sum_long_queries(
    level_sums: LevelSums,
    rows: PairRows,
    query: tf.Tensor,
    num_queries: tf.Tensor,
    ranks: Ranks,
    *,
    ties: bool,
    smallest: int,
    by_preferred: bool = False,
) -> LongQueries:
    """Sums over the pairs of different labels in each long query, digit by digit.

    Args:
        level_sums: The sums over the pairs of different levels.
        rows: The rows, in the order of `ranks`.
        query: Query of each row, int32 `(rows,)`; -1 for none.
        num_queries: A number above every query.
        ranks: The ranks.
        ties: Whether each pair counts twice and pairs of one label once in each order.
        smallest: Groups of fewer rows than this are left.
        by_preferred: As in `Levels`.
    """
    rank, distinct = ranks.rank, ranks.distinct
    weight = rows.weights()

    def add_digit(
        scale: tf.Tensor, group: tf.Tensor, done: LongQueries
    ) -> tuple[tf.Tensor, tf.Tensor, LongQueries]:
        number = size_of(group)  # within the loop, where XLA knows it as well
        groups = number // smallest
        zeros = tf.zeros((groups + 1, LEVELS), tf.float64)
        long = count_by_group(group, number) >= smallest
        compact = tf.where(long, tf.cumsum(tf.cast(long, tf.int32)) - 1, groups)
        there = group >= 0
        index = tf.where(there, tf.gather(compact, tf.maximum(group, 0)), groups)
        level = (rank // scale) % LEVELS
        inside = tf.where(index < groups, weight, 0.0)
        levels = Levels(rows.score, inside, rows.label, index, level, zeros, None, by_preferred)
        weights = tf.ensure_shape(levels.by_level(inside), zeros.shape)
        levels = levels._replace(weights=weights)
        if ties:
            several = count_by_group(levels.key, (groups + 1) * LEVELS) > 1
            tied = tf.reshape(several & tf.equal(scale, 1), (groups + 1, LEVELS))
            levels = levels._replace(tied=tf.cast(tied, tf.float64))
        totals, slope, failed = level_sums(levels)
        failed |= tf.range(groups + 1) >= groups
        leaves = tf.gather(failed, index) & there
        stays = there & ~leaves
        query_of_group = tf.math.unsorted_segment_max(query, index, groups + 1)
        query_of_group = tf.where(failed, -1, tf.maximum(query_of_group, -1))
        done = LongQueries(
            done.totals + sum_by_group(totals, query_of_group, num_queries),
            done.counts + sum_by_group(counts_of(levels), query_of_group, num_queries),
            done.slope + tf.where(stays, slope, tf.zeros_like(slope)),
            tf.where(leaves, group, done.left),
        )
        finer = first_of(tf.where(stays, group * LEVELS + level, -1), number * LEVELS)
        return scale // LEVELS, finer, done

    of_queries = tf.zeros((num_queries,), tf.float64)
    left = tf.fill(tf.shape(query), -1)
    group = first_of(query, num_queries)
    if ties:  # soft targets of labels closer than 1 are no matter of levels
        fractional = tf.where(tf.equal(rows.label, tf.floor(rows.label)), -1, query)
        soft = count_by_group(fractional, num_queries) > 0
        left = tf.where(tf.gather(soft, tf.maximum(query, 0)), group, left)
        group = tf.where(left >= 0, -1, group)
    done = LongQueries(of_queries, of_queries, tf.zeros_like(rows.score), left)
    start = leading_scale(distinct), group, done
    # What is left of all groups after the last digit has one label, and no pair.
    *_, done = tf.while_loop(
        lambda scale, group, _: (scale >= 1) & tf.reduce_any(group >= 0), add_digit, start
    )
    return done


def rank_labels(label: tf.Tensor, query: tf.Tensor, num_queries: tf.Tensor) -> Ranks:
    """The ranks, of the labels of each query where it has to be sorted.

    Whole numbers close together are their own ranks. They save a sort: rows whose queries lie
    apart from each other stay where they are.
    """
    some = query >= 0
    low = tf.reduce_min(tf.where(some, label, float("inf")))
    offset = tf.where(some, label - low, 0.0)
    whole = tf.equal(offset, tf.floor(offset)) & (offset < LEVELS)

    def by_value() -> tuple[tf.Tensor, ...]:
        order = query_order(query, num_queries)
        return order, tf.gather(tf.cast(offset, tf.int32), order), tf.constant(LEVELS)

    def by_order() -> tuple[tf.Tensor, ...]:
        order = tf.argsort(label, stable=True)
        order = tf.gather(order, tf.argsort(tf.gather(query, order), stable=True))
        at_query, at_label = tf.gather(query, order), tf.gather(label, order)
        new = (at_query[1:] != at_query[:-1]) | (at_label[1:] != at_label[:-1])
        new = tf.concat([tf.ones_like(at_query[:1], tf.bool), new], 0)
        rank = tf.cumsum(tf.cast(new, tf.int32))
        lowest = tf.math.unsorted_segment_min(rank, at_query, num_queries)
        rank -= tf.gather(lowest, tf.maximum(at_query, 0))
        rank = tf.where(at_query < 0, 0, rank)
        return order, rank, tf.reduce_max(rank) + 1

    order, rank, distinct = tf.cond(tf.reduce_all(whole), by_value, by_order)
    return Ranks(order, rank, distinct)


def query_order(query: tf.Tensor, num_queries: tf.Tensor) -> tf.Tensor:
    """An order in which the rows of each query lie together, or nearly so."""
    number = size_of(query)
    first = first_of(query, num_queries)
    begins = tf.equal(first, tf.range(number))
    length = tf.where(begins, last_of(first, number) - first + 1, 0)
    together = tf.reduce_sum(tf.cast(length, tf.float32)) <= tf.cast(number, tf.float32)
    return tf.cond(together, lambda: tf.range(number), lambda: tf.argsort(query, stable=True))
