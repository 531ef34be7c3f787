"""Preference pairs of large queries, a few label levels at a time.

A linear method can sum a kernel over the pairs of rows of different *levels*, the lower
against the higher, where there are at most `LEVELS` of them. Labels are ranked; a rank
is written in base `LEVELS`. Two rows of different ranks share their leading digits and
then differ in one: they are counted there, as rows of one group (the query and the
leading digits) and of different levels (the digit). So graded and binary labels take one
round and n different labels `log n / log LEVELS` rounds. All sums are over terms of the
same sign: no difference of two large sums is taken, so small losses are as accurate as
large ones.

Groups become smaller with every digit. Those that are small enough for the exact path
leave and are summed there, all together, at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from .reduce import count_by_group, sum_by_group
from .rules import PairRows

LEVELS = 8


class Levels(NamedTuple):
    """Rows in groups, each at a level.

    Attributes:
        group: Group of each row, int32 `(rows,)`; -1 for rows to be left out.
        level: Level of each row, int32 `(rows,)`.
        weights: What the rows of each group and level weigh, float64 `(groups, levels)`.
        tied: 1 for the groups and levels in which there are pairs of equal labels that
            count, else 0; float64 `(groups, levels)`, or `None` where no ties count. A
            row alone in its level is no pair: rounding must put nothing there.
    """

    group: tf.Tensor
    level: tf.Tensor
    weights: tf.Tensor
    tied: tf.Tensor | None

    @property
    def key(self) -> tf.Tensor:
        """Group and level of each row as one index into the flat `weights`; -1 for none."""
        return tf.where(self.group < 0, -1, self.group * self.number + self.level)

    @property
    def number(self) -> tf.Tensor:
        """The number of levels."""
        return tf.shape(self.weights)[1]

    def sum_tied(self, values: tf.Tensor) -> tf.Tensor:
        """The sum over each group of `values` `(rows,)` in levels that count ties."""
        sums = sum_by_group(values, self.key, tf.size(self.weights))
        return tf.reduce_sum(self.tied * tf.reshape(sums, tf.shape(self.weights)), axis=1)


LevelSums = Callable[[Levels], tuple[tf.Tensor, tf.Tensor, tf.Tensor]]
"""The sums over the pairs of different levels, and of one level where ties count.

Gives the total of each group, float64 `(groups,)`, the slope of each row, float64
`(rows,)`, and the groups for which the sums are not accurate, bool `(groups,)`."""


class Left(NamedTuple):
    """The groups that are left to the exact path: group of each row, -1 for none."""

    group: tf.Tensor
    number: tf.Tensor


def sum_by_levels(
    level_sums: LevelSums,
    rows: PairRows,
    query: tf.Tensor,
    num_queries: tf.Tensor,
    *,
    ties: bool,
    smallest: int,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor, Left]:
    """Sums over the pairs of different labels in each query, digit by digit.

    Args:
        level_sums: The sums over the pairs of different levels.
        rows: The rows.
        query: The large queries, int32 `(rows,)`; -1 for all other rows.
        num_queries: A number above every query.
        ties: Whether each pair counts twice and pairs of one label once in each order.
        smallest: Groups of fewer rows than this are left to the exact path.

    Returns:
        The total and the count of each query, whether they are to be discarded because a
        group of the query failed, the slope of each row, and what is left.
    """
    rank, distinct = label_ranks(rows.label, query >= 0)

    def add_digit(
        scale: tf.Tensor,
        group: tf.Tensor,
        group_query: tf.Tensor,
        sums: tf.Tensor,
        slope: tf.Tensor,
        left: tf.Tensor,
        num_left: tf.Tensor,
    ) -> tuple[tf.Tensor, ...]:
        level = (rank // scale) % LEVELS
        levels = _levels(rows, group, tf.size(group_query), level)
        if ties:
            levels = _with_ties(levels, tf.equal(scale, 1))
        totals, added_slope, failed = level_sums(levels)
        added = totals, _counts(rows, levels), tf.cast(failed, tf.float64)
        sums += tf.stack([sum_by_group(x, group_query, num_queries) for x in added])

        def next_digit() -> tuple[tf.Tensor, ...]:
            finer, parent = _refined(group, level)
            number = tf.size(parent)
            small = tf.gather(count_by_group(finer, number) < smallest, finer)
            kept = tf.where(small | (group < 0), -1, finer)
            leaves = small & (group >= 0)
            now_left = tf.where(leaves, num_left + finer, left)
            return kept, tf.gather(group_query, parent), now_left, num_left + number

        group, group_query, left, num_left = tf.cond(
            scale > 1, next_digit, lambda: (group, group_query, left, num_left)
        )
        slope += added_slope
        return scale // LEVELS, group, group_query, sums, slope, left, num_left

    start = (
        _leading_scale(distinct),
        query,
        tf.range(num_queries),
        tf.zeros((3, num_queries), tf.float64),
        tf.zeros_like(rows.score),
        tf.fill(tf.shape(query), -1),
        tf.constant(0),
    )
    _, _, _, sums, slope, left, num_left = tf.while_loop(
        lambda scale, *_: scale >= 1,
        add_digit,
        start,
        shape_invariants=tuple(tf.TensorShape([None] * x.shape.rank) for x in start),
    )
    return sums[0], sums[1], sums[2] > 0, slope, Left(left, num_left)


def label_ranks(label: tf.Tensor, considered: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The rank of each label among the different labels, and how many there are.

    Whole numbers close together are their own ranks, which saves looking for the
    different ones.
    """
    label = tf.where(considered & tf.math.is_finite(label), label, label[0])
    low, high = tf.reduce_min(label), tf.reduce_max(label)
    whole = tf.reduce_all(tf.equal(label, tf.floor(label))) & (high - low < LEVELS)

    def by_value() -> tuple[tf.Tensor, tf.Tensor]:
        return tf.cast(label - low, tf.int32), tf.constant(LEVELS)

    def by_order() -> tuple[tf.Tensor, tf.Tensor]:
        values, index = tf.unique(label)
        rank = tf.argsort(tf.argsort(values))
        return tf.gather(rank, index), tf.size(values)

    rank, distinct = tf.cond(whole, by_value, by_order)
    return rank, distinct


def _levels(rows: PairRows, group: tf.Tensor, number: tf.Tensor, level: tf.Tensor) -> Levels:
    shape = tf.stack([number, tf.reduce_max(level) + 1])
    levels = Levels(group, level, tf.zeros(shape, tf.float64), None)
    if rows.weight is None:
        weights = tf.cast(count_by_group(levels.key, shape[0] * shape[1]), tf.float64)
    else:
        weights = sum_by_group(rows.weight, levels.key, shape[0] * shape[1])
    return levels._replace(weights=tf.reshape(weights, shape))


def _with_ties(levels: Levels, is_label: tf.Tensor) -> Levels:
    count = count_by_group(levels.key, tf.size(levels.weights))
    several = tf.reshape(count, tf.shape(levels.weights)) > 1
    return levels._replace(tied=tf.cast(several & is_label, tf.float64))


def _counts(rows: PairRows, levels: Levels) -> tf.Tensor:
    """The weight of the pairs of each group: a sum of products, so 0 where none is."""
    below = tf.cumsum(levels.weights, axis=1, exclusive=True)
    counts = tf.reduce_sum(levels.weights * below, axis=1)
    if levels.tied is None:
        return counts
    tied = tf.reduce_sum(levels.tied * tf.square(levels.weights), axis=1)
    return 2.0 * counts + tied - levels.sum_tied(tf.square(rows.weights()))


def _leading_scale(distinct: tf.Tensor) -> tf.Tensor:
    """The largest power of `LEVELS` below the number of ranks; at least 1."""
    powers = tf.constant([LEVELS**k for k in range(1, 10)])  # up to 2**27 labels
    digits = tf.reduce_sum(tf.cast(powers < distinct, tf.int32))
    return tf.concat([[1], powers], axis=0)[digits]


def _refined(group: tf.Tensor, level: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The groups cut up by level: the new group of each row, the old one of each new."""
    key = tf.cast(group, tf.int64) * LEVELS + tf.cast(level, tf.int64)
    values, index = tf.unique(key)
    # Rows of no group are cut up too, which does no harm; their parent must exist.
    return index, tf.cast(tf.maximum(values // LEVELS, 0), tf.int32)
