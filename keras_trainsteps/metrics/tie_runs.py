"""Relevant rows among equal scores: what a mean over the orders of ties is made of."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from keras_trainsteps.metrics.ranked_rows import RankedRows
from keras_trainsteps.pairs.reduce import sum_by_group


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

    def first_of_run(values: tf.Tensor) -> tf.Tensor:
        return tf.gather(tf.math.unsorted_segment_min(values, ranked.tie, runs), ranked.tie)

    def sum_of_run(values: tf.Tensor) -> tf.Tensor:
        return tf.gather(sum_by_group(values, ranked.tie, runs), ranked.tie)

    place = tf.cast(tf.range(runs), tf.float64)
    return TieRuns(
        size=sum_of_run(tf.ones_like(place)),
        relevant=sum_of_run(ranked.relevant),
        above=first_of_run(seen) - ranked.at_rows(before),
        offset=place - first_of_run(place),
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
    found = runs.relevant / left * _running_product(missed, ranked.tie)
    return tf.where(runs.above == 0, found, tf.zeros_like(found))


def _running_product(values: tf.Tensor, run: tf.Tensor) -> tf.Tensor:
    """The product of a run's rows up to each row; after a step of `n`, of `2 n` rows."""
    rows = tf.shape(values)[0]
    row = tf.range(rows)

    def double(
        step: tf.Tensor, _: tf.Tensor, products: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        joined = (row >= step) & (tf.roll(run, step, 0) == run)
        products = tf.where(joined, products * tf.roll(products, step, 0), products)
        return 2 * step, tf.reduce_any(joined), products

    _, _, products = tf.while_loop(
        lambda step, more, _: more & (step < rows),
        double,
        (tf.constant(1), tf.constant(True), values),
    )
    return products
