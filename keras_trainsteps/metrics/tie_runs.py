"""Relevant rows among equal scores: what a mean over the orders of ties is made of."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

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
    runs = tf.shape(ranked.rank)[0]
    seen = tf.cumsum(ranked.relevant, exclusive=True)
    before = tf.math.unsorted_segment_min(seen, ranked.query, ranked.num_queries)
    if ranked.tie is None:
        ones = tf.ones_like(ranked.rank)
        above = seen - ranked.at_rows(before)
        return TieRuns(ones, ranked.relevant, above, tf.zeros_like(ones))

    place = tf.range(runs)
    first = tf.gather(tf.math.unsorted_segment_min(place, ranked.tie, runs), ranked.tie)
    size = tf.gather(count_by_group(ranked.tie, runs), ranked.tie)
    relevant = tf.gather(sum_by_group(ranked.relevant, ranked.tie, runs), ranked.tie)
    return TieRuns(
        size=tf.cast(size, tf.float64),
        relevant=relevant,
        above=tf.gather(seen, first) - ranked.at_rows(before),
        offset=tf.cast(place - first, tf.float64),
    )


def first_relevant(ranked: RankedRows) -> tf.Tensor:
    """The probability that the first relevant row of its query is at a row's place.

    It is 0 or 1 where ties are not averaged. In a run of `m` rows, `r` of them relevant,
    it is `r / (m - j) * prod_{i < j} (m - r - i) / (m - i)` at offset `j`.
    """
    runs = tie_runs(ranked)
    if ranked.tie is None:
        return tf.where(runs.above == 0, runs.relevant, tf.zeros_like(runs.relevant))
    left = runs.size - runs.offset
    missed = tf.maximum(left + 1 - runs.relevant, 0) / (left + 1)
    missed = tf.where(runs.offset == 0, tf.ones_like(missed), missed)
    matters = (runs.above == 0) & (runs.relevant > 0)
    length = tf.reduce_max(tf.where(matters, runs.size, tf.zeros_like(runs.size)))
    found = runs.relevant / left * _running_product(missed, runs.offset, length)
    return tf.where(matters, found, tf.zeros_like(found))


def _running_product(values: tf.Tensor, offset: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
    """The product of a run's rows up to each row, of runs of at most `length` rows."""

    def double(step: tf.Tensor, products: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # After a step of `n` a row holds the product of `2 n` rows, or of all from the first on.
        before = tf.roll(products, tf.cast(step, tf.int32), 0)
        return 2 * step, tf.where(offset >= step, products * before, products)

    start = (tf.constant(1.0, tf.float64), values)
    return tf.while_loop(lambda step, _: step < length, double, start)[1]
