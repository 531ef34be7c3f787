"""Rows in the order of their scores, query by query, with a rule for equal scores."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import tensorflow as tf

from keras_trainsteps.pairs.reduce import count_by_group, sum_by_group
from keras_trainsteps.queries import RankingRows

Ties = Literal["stable", "average", "random"]


class RankedRows(NamedTuple):
    """The rows of a batch, sorted by query and within a query from the best score down.

    Attributes:
        y_true: Labels, float64, shape `(rows,)`.
        query: Query index, int32, shape `(rows,)`; -1 for a masked row.
        rank: Position in the query, from 1, float64, shape `(rows,)`; 1 for a masked row.
        tie: Index of the run of rows whose order is averaged over, int32, shape
            `(rows,)`. `None` under the other tie rules: each row is a run of its own.
        num_queries: A scalar above every query index.
    """

    y_true: tf.Tensor
    query: tf.Tensor
    rank: tf.Tensor
    tie: tf.Tensor | None
    num_queries: tf.Tensor

    def sum(self, values: tf.Tensor) -> tf.Tensor:
        """The sum of the rows of each query, shape `(num_queries,)`."""
        return sum_by_group(values, self.query, self.num_queries)

    def at_rows(self, values: tf.Tensor) -> tf.Tensor:
        """Each row's entry of a `(num_queries,)` tensor."""
        return tf.gather(values, tf.maximum(self.query, 0))

    def expected(self, of_rank: tf.Tensor) -> tf.Tensor:
        """What a function of the rank is for each row, as a mean over the orders of ties."""
        if self.tie is None:
            return of_rank
        runs = tf.shape(self.tie)[0]
        size = count_by_group(self.tie, runs)
        mean = sum_by_group(of_rank, self.tie, runs) / tf.cast(tf.maximum(size, 1), tf.float64)
        return tf.gather(mean, self.tie)

    @property
    def relevant(self) -> tf.Tensor:
        """1 for a row with a label above 0, else 0; float64, 0 for masked rows."""
        return tf.cast((self.y_true > 0) & (self.query >= 0), tf.float64)

    def within(self, k: int | None) -> tf.Tensor:
        """1 for the first `k` ranks, else 0, float64."""
        if k is None:
            return tf.ones_like(self.rank)
        return tf.cast(self.rank <= k, tf.float64)


def rank_rows(
    rows: RankingRows | RankedRows, scores: tf.Tensor, ties: Ties = "stable", seed: Any = None
) -> RankedRows:
    """Sorts rows by query and descending score.

    Args:
        rows: The rows.
        scores: What to sort by, shape `(rows,)`; usually `rows.y_pred`. NaN ranks as 0.
        ties: Of equal scores, `"stable"` keeps the order of the rows, `"random"` draws
            one, and `"average"` stands for all orders (`RankedRows.tie`).
        seed: Two int64 numbers, for `"random"`.
    """
    size = tf.shape(scores)[0]
    place = tf.range(size)
    # A sort with NaN orders nothing, and XLA's sort tells -0 from 0.
    plain = tf.where(tf.math.is_nan(scores) | (scores == 0), tf.zeros_like(scores), scores)
    order = place
    if ties == "random":
        keys = tf.random.stateless_uniform((size,), seed, dtype=tf.float64, alg="philox")
        order = tf.argsort(keys)
    for key, direction in ((plain, "DESCENDING"), (rows.query, "ASCENDING")):
        by_key = tf.argsort(tf.gather(key, order), direction=direction, stable=True)
        order = tf.gather(order, by_key)
    query, plain = tf.gather(rows.query, order), tf.gather(plain, order)
    first = tf.math.unsorted_segment_min(place, query, rows.num_queries)
    rank = place - tf.gather(first, tf.maximum(query, 0)) + 1
    tie = None
    if ties == "average":
        new = (query[1:] != query[:-1]) | (plain[1:] != plain[:-1])
        tie = tf.concat([place[:1], tf.cumsum(tf.cast(new, tf.int32))], axis=0)
    return RankedRows(
        tf.cast(tf.gather(rows.y_true, order), tf.float64),
        query,
        tf.cast(tf.where(query < 0, 1, rank), tf.float64),
        tie,
        rows.num_queries,
    )
