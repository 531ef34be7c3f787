"""One tile: some rows of a query against some rows of the same query.

With `P_ij` the weight of the pair (0 where `i`, `j` is no pair) and `phi` its term, a
tile gives for its rows `i` and `j`

    terms_i     =  sum_j P_ij phi(s_i - s_j)
    counts_i    =  sum_j P_ij
    gradient_i  =  sum_j P_ij phi'(s_i - s_j)
    gradient_j  = -sum_i P_ij phi'(s_i - s_j)

A factor multiplies the terms and gradients, not the counts: the mean over pairs is then
the mean of factor times term, as in LambdaRank and LambdaLoss.

The difference `d` of two float32 scores rounded to float32 would put a small term, which
is about `exp(-d)`, off by `d * 6e-8` of itself. So differences are float64. Where the
scores lie near each other, kinds that are functions of the odds `exp(-d)` go without: the
odds are the product of an exponential of each row, taken in float64, and only what is made
of them is float32 where float32 is wanted. All sums are float64.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from .rules import Fields, PairRows, PairRule

_NEAR = {tf.float32: 80.0, tf.float64: 600.0}  # `exp` of these is well inside the dtype


class TileSums(NamedTuple):
    """What a tile adds to its rows; shapes `(..., i)`, the last one `(..., j)`."""

    terms_i: tf.Tensor
    counts_i: tf.Tensor
    gradient_i: tf.Tensor
    gradient_j: tf.Tensor


def tile_sums(
    rule: PairRule,
    i: PairRows,
    j: PairRows,
    allowed: tf.Tensor | None,
    near: bool | tf.Tensor,
) -> TileSums:
    """The sums over the pairs of rows `i` `(..., I)` with rows `j` `(..., J)`.

    Args:
        rule: What is summed.
        i: The rows that come first in a pair.
        j: The rows that come second.
        allowed: Bool, broadcastable to `(..., I, J)`: which pairs may be formed; `None`
            for all. Where the rule has ties it must leave out a row with itself.
        near: Whether the scores are such that `are_near` holds.
    """
    if not _of_odds_alone(rule):
        return _weighted_sums(rule, i, j, allowed, near)
    if isinstance(near, bool):
        return _odds_sums(rule, i, j) if near else _weighted_sums(rule, i, j, allowed, False)
    return TileSums(
        *tf.cond(
            near,
            lambda: _odds_sums(rule, i, j),
            lambda: _weighted_sums(rule, i, j, allowed, False),
        )
    )


def _of_odds_alone(rule: PairRule) -> bool:
    return (
        rule.kernel.preference_of_odds is not None
        and rule.precision == tf.float32
        and not (rule.ties or rule.weighted or rule.factor)
    )


def _odds_sums(rule: PairRule, i: PairRows, j: PairRows) -> TileSums:
    """The sums where pairs weigh 1 and odds are all there is to a pair: those of 0 give 0."""
    assert rule.kernel.preference_of_odds is not None
    preferred = tf.cast(_column(i.label) > _row(j.label), tf.float32)
    first, second = (tf.cast(part, tf.float32) for part in _odds(i, j))
    term, slope = rule.kernel.preference_of_odds(_column(first) * (_row(second) * preferred))
    rows = [tf.reduce_sum(x, axis=-1) for x in (term, preferred, slope)]
    sums = [tf.cast(x, tf.float64) for x in (*rows, -tf.reduce_sum(slope, axis=-2))]
    return TileSums(*sums)


def _weighted_sums(
    rule: PairRule, i: PairRows, j: PairRows, allowed: tf.Tensor | None, near: bool | tf.Tensor
) -> TileSums:
    """The sums of any rule."""
    weight = _pair_weight(rule, i, j, allowed)
    term, slope = _terms(rule, i, j, near)
    counts_i = tf.reduce_sum(weight, axis=-1)
    if rule.factor is not None:
        factor = rule.factor(_first(i.fields), _second(j.fields))
        weight = tf.math.multiply_no_nan(tf.cast(factor, weight.dtype), weight)
    # Padding has no label, and its terms need not be numbers.
    term = tf.math.multiply_no_nan(term, weight)
    slope = tf.math.multiply_no_nan(slope, weight)
    return TileSums(
        tf.reduce_sum(term, axis=-1),
        counts_i,
        tf.reduce_sum(slope, axis=-1),
        -tf.reduce_sum(slope, axis=-2),
    )


def are_near(rule: PairRule, score: tf.Tensor) -> bool | tf.Tensor:
    """Whether the rule has terms of odds, and the odds of all pairs are normal numbers."""
    if rule.ties or rule.kernel.preference_of_odds is None:
        return False
    return tf.reduce_max(score) - tf.reduce_min(score) < _NEAR[rule.precision]


def _terms(
    rule: PairRule, i: PairRows, j: PairRows, near: bool | tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Term and slope of each pair."""

    def of_differences() -> tuple[tf.Tensor, tf.Tensor]:
        d = _column(i.score) - _row(j.score)
        return rule.term(d, _column(i.label) - _row(j.label))

    def of_odds() -> tuple[tf.Tensor, tf.Tensor]:
        assert rule.kernel.preference_of_odds is not None
        first, second = _odds(i, j)
        odds = _column(first) * _row(second)
        term, slope = rule.kernel.preference_of_odds(tf.cast(odds, rule.precision))
        return tf.cast(term, tf.float64), tf.cast(slope, tf.float64)

    if isinstance(near, bool):
        return of_odds() if near else of_differences()
    term, slope = tf.cond(near, of_odds, of_differences)
    return term, slope


def _odds(i: PairRows, j: PairRows) -> tuple[tf.Tensor, tf.Tensor]:
    """Two numbers of rows, whose product is the odds of a pair."""
    middle = 0.5 * (tf.reduce_min(j.score) + tf.reduce_max(j.score))
    return tf.exp(middle - i.score), tf.exp(j.score - middle)


def _pair_weight(
    rule: PairRule,
    i: PairRows,
    j: PairRows,
    allowed: tf.Tensor | None,
) -> tf.Tensor:
    label_i, label_j = _column(i.label), _row(j.label)
    preferred = label_i > label_j
    if allowed is not None:
        preferred &= allowed
    weight = tf.cast(preferred, label_i.dtype)
    if rule.ties:
        tied = tf.equal(label_i, label_j)
        if allowed is not None:
            tied &= allowed
        weight = 2 * weight + tf.cast(tied, label_i.dtype)
    if i.weight is not None and j.weight is not None:
        # Both orders of a tied pair are summed, so the first row's weight alone gives
        # the mean of both.
        weight *= _column(i.weight)
        if not rule.by_preferred:
            weight *= _row(j.weight)
    return weight


def _first(fields: Fields) -> Fields:
    return {name: _column(value) for name, value in fields.items()}


def _second(fields: Fields) -> Fields:
    return {name: _row(value) for name, value in fields.items()}


def _column(values: tf.Tensor) -> tf.Tensor:
    return tf.expand_dims(values, -1)


def _row(values: tf.Tensor) -> tf.Tensor:
    return tf.expand_dims(values, -2)
