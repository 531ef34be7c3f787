"""Hinge and squared hinge over pairs of different levels, by sorting.

A pair of a row `i` and a row `j` of a lower level has a term where `s_j > s_i - 1`. With
the rows of a group sorted by score these `j` are a run up to the group's end, and with
`W = sum w`, `S = sum w s` and `Q = sum w s^2` over the lower-level rows of the run,

    sum_j w_j (1 - s_i + s_j)    =  (1 - s_i) W + S,
    sum_j w_j (1 - s_i + s_j)^2  =  (1 - s_i)^2 W + 2 (1 - s_i) S + Q.

The derivative with respect to `s_i` is `-W`, or `-2 ((1 - s_i) W + S)`. In the same way a
row `j` has the higher-level rows with `s_i < s_j + 1`, a run from the group's beginning.
`W`, `S`, `Q` are differences of running sums.

Such a difference keeps the rounding of the running sums, which is of no matter unless a
row's own sum is smaller by many orders: a single pair just inside the margin, or scores
spread over many thousands. What rounding can do is bounded row by row, and a group where
it may exceed `_TOLERANCE` of a row's own sum is reported as failed, to be summed pair by pair.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from .levels import Levels
from .reduce import count_by_group, sum_by_group

_TOLERANCE = 5e-7


@dataclass(frozen=True)
class HingeSums:
    """The sums over the pairs of different levels; see `levels.LevelSums`."""

    squared: bool

    def __call__(self, levels: Levels) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """The total of each group, the slope of each row, and which groups failed."""
        number, group, level = levels.num_groups, levels.group, levels.level
        given, weight, lower_weight = (
            levels.score,
            levels.row_weights(),
            levels.lower_row_weights(),
        )
        score = _centred(given, group, number)

        order = _order(group, given)
        powers = [tf.ones_like(score), score, score * score][: 3 if self.squared else 2]
        as_lower = [lower_weight * power for power in powers]
        as_higher = [weight * power for power in powers]
        below = _running(as_lower, level, levels.number, order, reverse=False)
        above = _running(as_higher, level, levels.number, order, reverse=True)
        sizes = count_by_group(group, number)
        end = tf.gather(tf.cumsum(sizes), group)
        begin = tf.gather(tf.cumsum(sizes, exclusive=True), group)
        # As the first row, against lower levels; as the second, against higher ones.
        # The given scores decide who is within the margin: taking one from a float32
        # score is exact, taking a far mean from it is not.
        first = _search(group, given, given - 1.0, right=True)
        last = _search(group, given, given + 1.0, right=False)
        lower = _Run(below, level, first, end)
        higher = _Run(above, level, begin, last)

        gap, gap_up = 1.0 - score, 1.0 + score
        margin = gap * lower.sum(0) + lower.sum(1)
        margin_up = gap_up * higher.sum(0) - higher.sum(1)
        error = lower.error(1) + tf.abs(gap) * lower.error(0)
        error_up = higher.error(1) + tf.abs(gap_up) * higher.error(0)
        terms = margin
        # Of the pairs in which it is the higher row, then of those in which it is the lower one.
        down, up = (lower.sum(0), lower.error(0)), (higher.sum(0), higher.error(0))
        terms_error = error
        if self.squared:
            terms = gap * (margin + lower.sum(1)) + lower.sum(2)
            terms_error = tf.abs(gap) * (error + lower.error(1)) + lower.error(2)
            down, up = (2.0 * margin, 2.0 * error), (2.0 * margin_up, 2.0 * error_up)
        some = (lower.sum(0) > 0) | (higher.sum(0) > 0)
        slope = lower_weight * up[0] - weight * down[0]
        own, limit = (lower_weight * y + weight * x for x, y in zip(down, up, strict=True))
        failed = some & (limit > _TOLERANCE * own)

        totals = sum_by_group(weight * terms, group, number)
        errors = sum_by_group(weight * terms_error, group, number)
        failures = sum_by_group(tf.cast(failed, tf.float64), group, number)
        failed = (failures > 0) | (errors > _TOLERANCE * tf.abs(totals))
        return totals, slope, failed


class _Run(NamedTuple):
    """Sums over runs of sorted rows `begin <= place < end`, at each row's own level."""

    running: list[tf.Tensor]
    level: tf.Tensor
    begin: tf.Tensor
    end: tf.Tensor

    def _ends(self, power: int) -> tuple[tf.Tensor, tf.Tensor]:
        until = tf.gather_nd(self.running[power], tf.stack([self.end, self.level], 1))
        before = tf.gather_nd(self.running[power], tf.stack([self.begin, self.level], 1))
        # A run may be empty the wrong way round, where no row is within the margin.
        return until, tf.where(self.begin < self.end, before, until)

    def sum(self, power: int) -> tf.Tensor:
        """The sum of the weights times the scores to this power."""
        until, before = self._ends(power)
        return until - before

    def error(self, power: int) -> tf.Tensor:
        """What rounding may have done to it."""
        until, before = self._ends(power)
        bound = 4 * np.finfo(np.float64).eps * (tf.abs(until) + tf.abs(before))
        # Sums that are equal may have lost what lies between them beside another query's outlier.
        nothing = tf.equal(*self._ends(0))
        return tf.where(nothing, tf.zeros_like(bound), bound)


def _running(
    powers: list[tf.Tensor],
    level: tf.Tensor,
    levels: tf.Tensor,
    order: tf.Tensor,
    reverse: bool,
) -> list[tf.Tensor]:
    """For each level, sums over the first rows of `order` at lower (higher) levels.

    Shape `(rows + 1, levels)` for each power.
    """
    each = tf.range(levels)
    counts = each < level[:, None] if reverse else each > level[:, None]
    running = []
    for values in powers:
        sums = tf.cumsum(tf.gather(tf.where(counts, values[:, None], 0.0), order), axis=0)
        running.append(tf.concat([tf.zeros((1, levels), sums.dtype), sums], axis=0))
    return running


def _centred(score: tf.Tensor, group: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
    """Scores less their group's mean: running sums stay small."""
    size = sum_by_group(tf.ones_like(score), group, number)
    mean = tf.math.divide_no_nan(sum_by_group(score, group, number), size)
    # A mean of few bits: differences of the shifted float32 scores stay exact.
    mean = tf.cast(tf.cast(mean, tf.float32), tf.float64)
    return score - tf.gather(mean, group)


def _order(group: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
    """Row numbers sorted by group, then by value; equal ones as they come."""
    by_value = tf.argsort(value, stable=True)
    return tf.gather(by_value, tf.argsort(tf.gather(group, by_value), stable=True))


def _search(group: tf.Tensor, value: tf.Tensor, threshold: tf.Tensor, right: bool) -> tf.Tensor:
    """For each row the number of rows sorted before its threshold.

    All rows of earlier groups are, and those rows of its own group whose value is less
    than the threshold, or, with `right`, not more.
    """
    rows = tf.size(group)
    both = [value, threshold] if right else [threshold, value]
    order = _order(tf.concat([group, group], 0), tf.concat(both, 0))
    is_value = (order < rows) if right else (order >= rows)
    before = tf.cumsum(tf.cast(is_value, tf.int32))
    place = tf.scatter_nd(order[:, None], before, (2 * rows,))
    return place[rows:] if right else place[:rows]
