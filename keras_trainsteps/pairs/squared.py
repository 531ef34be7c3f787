"""Squared error over pairs in closed form.

A pair's term `((s_i - s_j) - (y_i - y_j))^2` is `(r_i - r_j)^2` with `r = s - y`. With the
sums `W = sum w`, `S = sum w r` and `Q = sum w r^2` of two sets of rows,

    sum_ij w_i w_j (r_i - r_j)^2  =  W_1 Q_2 + W_2 Q_1 - 2 S_1 S_2,
    derivative with respect to s_i  =  2 w_i (W_2 r_i - S_2),

for different levels against each other, and, over all ordered pairs of a query,

    total  =  2 (W Q - S^2),    derivative  =  4 w_i (W r_i - S).

`r` is measured from one of the query's own rows and then from the mean: so residuals that
are all equal give exactly 0. Where one residual is larger by far than all others, their
differences drown in rounding, unless every row is paired with that one; a group where this
may be so is reported as failed, to be summed pair by pair.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from .levels import Levels
from .reduce import count_by_group, of_rows, sum_by_group, take
from .rules import PairRows

_EPSILON = 8 * np.finfo(np.float64).eps


@dataclass(frozen=True)
class SquaredErrorSums:
    """The sums over the pairs of different levels; see `levels.LevelSums`.

    Attributes:
        tolerance: The relative error of a row's slope from which on a group has failed.
    """

    tolerance: float

    def __call__(self, levels: Levels) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """The total of each group, the slope of each row, and which groups failed."""
        weight = levels.row_weights()
        residual = _residual(levels.score, levels.label, levels.group, levels.num_groups)
        r = _centred(residual, weight, levels.group, levels.num_groups)
        w, s, q = levels.weights, levels.by_level(weight * r), levels.by_level(weight * r * r)
        as_lower = w, s, q
        if levels.by_preferred:
            as_lower = levels.lower_weights(), levels.by_level(r), levels.by_level(r * r)
        below = [_below(x) for x in as_lower]
        sides = list(zip(below, (_above(x) for x in (w, s, q)), strict=True))
        lower_w, lower_s, lower_q = below
        totals = tf.reduce_sum(w * lower_q + lower_w * q - 2.0 * s * lower_s, axis=1)
        if levels.by_preferred:  # a row counts its weight as the higher one, and 1 as the lower
            met = [weight * self._met(x, levels) + self._met(y, levels) for x, y in sides]
        else:
            met = [weight * self._met(x + y, levels) for x, y in sides]
        other_w, other_s, other_q = met
        slope = 2.0 * (other_w * r - other_s)

        # sum |r_i - r_j| >= sum (r_i - r_j)^2 / max |r_i - r_j|: a bound of what the
        # slope's rounding is to be measured by.
        longest = tf.math.unsorted_segment_max(tf.abs(r), levels.group, levels.num_groups)
        longest = take(2.0 * longest, levels.group)
        squares = (other_w * r - 2.0 * other_s) * r + other_q
        error = _EPSILON * (other_w * tf.abs(r) + tf.abs(other_s)) * longest
        failed = (error > self.tolerance * squares) & (longest > 0) & (other_w > 0)
        failures = count_by_group(tf.where(failed, levels.group, -1), levels.num_groups)
        return totals, slope, failures > 0

    @staticmethod
    def _met(by_level: tf.Tensor, levels: Levels) -> tf.Tensor:
        return take(tf.reshape(by_level, (-1,)), levels.key)


def all_squared_errors(
    rows: PairRows, query: tf.Tensor, num_queries: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Totals and counts of each query and slopes of each row, over all ordered pairs."""
    # A query of one row has no pair: rounding must put nothing there.
    several = of_rows(count_by_group(query, num_queries) > 1, query, False)
    group = tf.where(several, query, num_queries)  # one group more, of what has no pair
    weight = tf.where(several, rows.weights(), 0.0)
    residual = _residual(rows.score, rows.label, group, num_queries + 1)
    residual = tf.where(several, residual, 0.0)
    r = _centred(residual, weight, group, num_queries + 1)
    w, s, q, squares = (
        sum_by_group(values, group, num_queries + 1)
        for values in (weight, weight * r, weight * r * r, tf.square(weight))
    )
    slope = 4.0 * weight * (take(w, group) * r - take(s, group))
    totals, counts = 2.0 * (w * q - tf.square(s)), tf.square(w) - squares
    return totals[:-1], counts[:-1], slope


def _residual(
    score: tf.Tensor, label: tf.Tensor, group: tf.Tensor, number: tf.Tensor
) -> tf.Tensor:
    """Scores less labels from the lowest of the group: beside large labels scores would drown."""
    return score - (label - take(tf.math.unsorted_segment_min(label, group, number), group))


def _centred(r: tf.Tensor, weight: tf.Tensor, group: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
    """Residuals less their smallest value and then less their mean over the group."""
    r -= take(tf.math.unsorted_segment_min(r, group, number), group)
    total = sum_by_group(weight * r, group, number)
    mean = tf.math.divide_no_nan(total, sum_by_group(weight, group, number))
    return r - take(mean, group)


def _below(values: tf.Tensor) -> tf.Tensor:
    return tf.cumsum(values, axis=1, exclusive=True)


def _above(values: tf.Tensor) -> tf.Tensor:
    return tf.cumsum(values, axis=1, exclusive=True, reverse=True)
