"""Preference pairs of large queries, a few label levels at a time.

A linear method can sum a kernel over the pairs of rows of different *levels*, the lower
against the higher, where there are at most `LEVELS` of them. Labels are ranked; a rank
is written in base `LEVELS`. Two rows of different ranks share their leading digits and
then differ in one: they are counted there, as rows of one group (the query and the
leading digits) and of different levels (the digit). So graded and binary labels take one
round and n different labels `log n / log LEVELS` rounds. All sums are over terms of the
same sign: no difference of two large sums is taken, so small losses are as accurate as
large ones.

Groups become smaller with every digit. The rows of those that are small enough for the
exact path leave and are summed there, all together, at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from .reduce import count_by_group, sum_by_group, take
from .rules import PairRows

LEVELS = 8


class Levels(NamedTuple):
    """Rows in groups, each at a level.

    Attributes:
        score: Score of each row, float64 `(rows,)`.
        weight: Weight of each row, or `None` for 1 each.
        label: Label of each row.
        group: Group of each row, int32 `(rows,)`; there is no row without one.
        level: Level of each row, int32 `(rows,)`.
        weights: What the rows of each group and level weigh, float64 `(groups, levels)`.
        tied: 1 for the groups and levels in which there are pairs of equal labels that
            count, else 0; float64 `(groups, levels)`, or `None` where no ties count. A
            row alone in its level is no pair: rounding must put nothing there.
        by_preferred: Whether a pair weighs what its row of the higher label weighs, of two
            equal labels the mean of both: as the lower row of a pair, a row weighs 1.
    """

    score: tf.Tensor
    weight: tf.Tensor | None
    label: tf.Tensor
    group: tf.Tensor
    level: tf.Tensor
    weights: tf.Tensor
    tied: tf.Tensor | None
    by_preferred: bool = False

    @property
    def key(self) -> tf.Tensor:
        """Group and level of each row as one index into the flat `weights`."""
        return self.group * self.number + self.level

    @property
    def number(self) -> tf.Tensor:
        """The number of levels."""
        return tf.shape(self.weights)[1]

    @property
    def num_groups(self) -> tf.Tensor:
        """The number of groups."""
        return tf.shape(self.weights)[0]

    def row_weights(self) -> tf.Tensor:
        """The weight of each row, 1 each where there are none."""
        return tf.ones_like(self.score) if self.weight is None else self.weight

    def lower_row_weights(self) -> tf.Tensor:
        """What each row weighs as the lower one of a pair."""
        return tf.ones_like(self.score) if self.by_preferred else self.row_weights()

    def lower_weights(self) -> tf.Tensor:
        """What the rows of each group and level weigh as the lower ones of pairs."""
        return self.by_level(tf.ones_like(self.score)) if self.by_preferred else self.weights

    def by_level(self, values: tf.Tensor) -> tf.Tensor:
        """The sums of `values` `(rows,)` over each group and level."""
        sums = sum_by_group(values, self.key, tf.size(self.weights))
        return tf.reshape(sums, tf.shape(self.weights))

    def sum_tied(self) -> tf.Tensor:
        """What each group's rows would weigh paired with themselves, in levels of ties."""
        if self.by_preferred:
            return tf.reduce_sum(self.tied * self.weights, axis=1)
        squares = self.weights if self.weight is None else self.by_level(tf.square(self.weight))
        return tf.reduce_sum(self.tied * squares, axis=1)


LevelSums = Callable[[Levels], tuple[tf.Tensor, tf.Tensor, tf.Tensor]]
"""The sums over the pairs of different levels, and of one level where ties count.

Gives the total of each group, float64 `(groups,)`, the slope of each row, float64
`(rows,)`, and the groups for which the sums are not accurate, bool `(groups,)`."""


class Left(NamedTuple):
    """What is left to the exact path.

    Attributes:
        group: The group that each row is left in, -1 for none.
        query: The query of each of these groups.
    """

    group: tf.Tensor
    query: tf.Tensor


def sum_by_levels(
    level_sums: LevelSums,
    rows: PairRows,
    query: tf.Tensor,
    num_queries: tf.Tensor,
    *,
    ties: bool,
    smallest: int,
    by_preferred: bool = False,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor, Left]:
    """Sums over the pairs of different labels in each query, digit by digit.

    Args:
        level_sums: The sums over the pairs of different levels.
        rows: The rows; none has a label that is not a number.
        query: Query of each row, int32 `(rows,)`; there is no row without one.
        num_queries: A number above every query.
        ties: Whether each pair counts twice and pairs of one label once in each order.
        smallest: Groups of fewer rows than this are left to the exact path.
        by_preferred: As in `Levels`.

    Returns:
        The total and the count of each query, whether they are to be discarded because a
        group of the query failed, the slope of each row, and what is left.
    """
    rank, distinct = label_ranks(rows.label)
    one_digit = distinct <= LEVELS
    fields = [rows.label, rows.score]
    if rows.weight is not None:
        fields.append(rows.weight)

    def add_digit(
        scale: tf.Tensor,
        place: tf.Tensor,
        rank: tf.Tensor,
        fields: list[tf.Tensor],
        group: tf.Tensor,
        group_query: tf.Tensor,
        sums: tf.Tensor,
        slope: tf.Tensor,
        left: tf.Tensor,
        left_query: tf.Tensor,
    ) -> tuple[Any, ...]:
        level = tf.cond(one_digit, lambda: rank, lambda: (rank // scale) % LEVELS)
        levels = _levels(fields, group, tf.size(group_query), level)
        levels = levels._replace(by_preferred=by_preferred)
        if ties:
            levels = _with_ties(levels, tf.equal(scale, 1))
        totals, added_slope, failed = level_sums(levels)
        added = totals, counts_of(levels), tf.cast(failed, tf.float64)
        sums += tf.stack([sum_by_group(x, group_query, num_queries) for x in added])
        slope = tf.cond(
            tf.equal(tf.size(slope), 0),  # the first round: every row is there
            lambda: added_slope,
            lambda: tf.tensor_scatter_nd_add(slope, place[:, None], added_slope),
        )

        def next_digit() -> tuple[tf.Tensor, ...]:
            finer, parent = _refined(group, level)
            finer_query = tf.gather(group_query, parent)
            small = take(count_by_group(finer, tf.size(parent)) < smallest, finer)
            leaving, staying = tf.where(small), tf.where(~small)
            now_left = tf.tensor_scatter_nd_update(
                left,
                tf.gather_nd(place, leaving)[:, None],
                tf.size(left_query) + tf.gather_nd(finer, leaving),
            )
            stay = [tf.gather_nd(x, staying) for x in (place, rank, finer, *fields)]
            return *stay, finer_query, now_left, tf.concat([left_query, finer_query], axis=0)

        def no_digit() -> tuple[tf.Tensor, ...]:
            return place, rank, group, *fields, group_query, left, left_query

        place, rank, group, *fields, group_query, left, left_query = tf.cond(
            scale > 1, next_digit, no_digit
        )
        return (
            *(scale // LEVELS, place, rank, fields, group),
            *(group_query, sums, slope, left, left_query),
        )

    start = (
        leading_scale(distinct),
        tf.range(tf.size(query)),
        rank,
        fields,
        query,
        tf.range(num_queries),
        tf.zeros((3, num_queries), tf.float64),
        tf.zeros((0,), tf.float64),
        tf.fill(tf.shape(query), -1),
        tf.zeros((0,), tf.int32),
    )
    *_, sums, slope, left, left_query = tf.while_loop(
        lambda scale, place, *_: (scale >= 1) & (tf.size(place) > 0),
        add_digit,
        start,
        shape_invariants=tf.nest.map_structure(
            lambda x: tf.TensorShape([None] * x.shape.rank), start
        ),
    )
    return sums[0], sums[1], sums[2] > 0, slope, Left(left, left_query)


def label_ranks(label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The rank of each label among the different labels, and how many there are.

    Whole numbers close together are their own ranks, which saves looking for the
    different ones.
    """
    low, high = tf.reduce_min(label), tf.reduce_max(label)
    whole = tf.reduce_all(tf.equal(label, tf.floor(label))) & (high - low < LEVELS)

    def by_value() -> tuple[tf.Tensor, tf.Tensor]:
        return tf.cast(label - low, tf.int32), tf.constant(LEVELS)

    def by_order() -> tuple[tf.Tensor, tf.Tensor]:
        values, index = tf.unique(label)
        rank = tf.argsort(tf.argsort(values))
        return take(rank, index), tf.size(values)

    rank, distinct = tf.cond(whole, by_value, by_order)
    return rank, distinct


def _levels(
    fields: list[tf.Tensor], group: tf.Tensor, number: tf.Tensor, level: tf.Tensor
) -> Levels:
    shape = tf.stack([number, tf.reduce_max(level) + 1])
    label, score, *others = fields
    weight = others[0] if others else None
    levels = Levels(score, weight, label, group, level, tf.zeros(shape, tf.float64), None)
    if weight is None:
        count = count_by_group(levels.key, shape[0] * shape[1])
        weights = tf.reshape(tf.cast(count, tf.float64), shape)
    else:
        weights = levels.by_level(weight)
    return levels._replace(weights=weights)


def _with_ties(levels: Levels, is_label: tf.Tensor) -> Levels:
    count = count_by_group(levels.key, tf.size(levels.weights))
    several = tf.reshape(count, tf.shape(levels.weights)) > 1
    return levels._replace(tied=tf.cast(several & is_label, tf.float64))


def counts_of(levels: Levels) -> tf.Tensor:
    """The weight of the pairs of each group: a sum of products, so 0 where none is."""
    lower = levels.lower_weights()
    counts = tf.reduce_sum(levels.weights * tf.cumsum(lower, 1, exclusive=True), axis=1)
    if levels.tied is None:
        return counts
    tied = tf.reduce_sum(levels.tied * levels.weights * lower, axis=1)
    return 2.0 * counts + tied - levels.sum_tied()


def leading_scale(distinct: tf.Tensor) -> tf.Tensor:
    """The largest power of `LEVELS` below the number of ranks; at least 1."""
    powers = tf.constant([LEVELS**k for k in range(1, 10)])  # up to 2**27 labels
    digits = tf.reduce_sum(tf.cast(powers < distinct, tf.int32))
    return tf.gather(tf.concat([[1], powers], axis=0), digits)


def _refined(group: tf.Tensor, level: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The groups cut up by level: the new group of each row, the old one of each new."""
    key = tf.cast(group, tf.int64) * LEVELS + tf.cast(level, tf.int64)
    values, index = tf.unique(key)
    return index, tf.cast(values // LEVELS, tf.int32)
