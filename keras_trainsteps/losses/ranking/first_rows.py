"""Ordered pairs of all rows, each with the weight of its first row.

Both orders of a pair have the same term, so it may as well weigh the mean of its rows each time.
"""

from __future__ import annotations

import tensorflow as tf

from keras_trainsteps.pairs import PairFactor
from keras_trainsteps.pairs.reduce import count_by_group, sum_by_group
from keras_trainsteps.queries import RankingRows

_WEIGHT = "weight of the row"  # no field of a lambda weight


def by_first_row(row_weight: tf.Tensor, factor: PairFactor | None) -> PairFactor:
    """The factor of each pair, times what its first row weighs."""
    if factor is None:
        return PairFactor(_mean, {_WEIGHT: row_weight})

    def both(i: dict[str, tf.Tensor], j: dict[str, tf.Tensor]) -> tf.Tensor:
        return factor.function(i, j) * _mean(i, j)

    return PairFactor(both, {**factor.fields, _WEIGHT: row_weight})


def first_row_counts(rows: RankingRows, row_weight: tf.Tensor) -> tf.Tensor:
    """The sum of the weights of each query's pairs: of each row for all others; float64."""
    others = tf.cast(count_by_group(rows.query, rows.num_queries), tf.float64) - 1
    weights = sum_by_group(tf.cast(row_weight, tf.float64), rows.query, rows.num_queries)
    return tf.where(others > 0, others * weights, tf.zeros_like(weights))


def _mean(i: dict[str, tf.Tensor], j: dict[str, tf.Tensor]) -> tf.Tensor:
    return 0.5 * (i[_WEIGHT] + j[_WEIGHT])
