"""One tile: some rows of a query against some rows of the same query.

With `P_ij` the weight of the pair (0 where `i`, `j` is no pair) and `phi` its term, a
tile gives for its rows `i` and `j`

    terms_i     =  sum_j P_ij phi(s_i - s_j)
    counts_i    =  sum_j P_ij
    gradient_i  =  sum_j P_ij phi'(s_i - s_j)
    gradient_j  = -sum_i P_ij phi'(s_i - s_j)

A factor multiplies the terms and gradients, not the counts: the mean over pairs is then
the mean of factor times term, as in LambdaRank and LambdaLoss.

Tiles are float64 throughout. The difference of two float32 scores is then exact, so a
pair's term is right to the last float32 bit also where it is as small as `exp(-d)` with
a large `d`; the difference rounded to float32 would be off by `d * 6e-8` of the term.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from .rules import Fields, PairRows, PairRule


class TileSums(NamedTuple):
    """What a tile adds to its rows; shapes `(..., i)`, the last one `(..., j)`."""

    terms_i: tf.Tensor
    counts_i: tf.Tensor
    gradient_i: tf.Tensor
    gradient_j: tf.Tensor


def tile_sums(rule: PairRule, i: PairRows, j: PairRows, allowed: tf.Tensor | None) -> TileSums:
    """The sums over the pairs of rows `i` `(..., I)` with rows `j` `(..., J)`.

    Args:
        rule: What is summed.
        i: The rows that come first in a pair.
        j: The rows that come second.
        allowed: Bool, broadcastable to `(..., I, J)`: which pairs may be formed; `None`
            for all. Where the rule has ties it must leave out a row with itself.
    """
    d = i.score[..., :, None] - j.score[..., None, :]
    label_d = i.label[..., :, None] - j.label[..., None, :]
    weight = _pair_weight(rule, i, j, allowed)
    term, slope = rule.term(d, label_d)
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


def _pair_weight(
    rule: PairRule,
    i: PairRows,
    j: PairRows,
    allowed: tf.Tensor | None,
) -> tf.Tensor:
    label_i, label_j = i.label[..., :, None], j.label[..., None, :]
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
        weight *= i.weight[..., :, None]
        if not rule.by_preferred:
            weight *= j.weight[..., None, :]
    return weight


def _first(fields: Fields) -> Fields:
    return {name: value[..., :, None] for name, value in fields.items()}


def _second(fields: Fields) -> Fields:
    return {name: value[..., None, :] for name, value in fields.items()}
