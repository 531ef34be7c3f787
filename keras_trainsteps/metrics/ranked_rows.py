"""Rows in the order of their scores, query by query, with a rule for equal scores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import tensorflow as tf

from keras_trainsteps.pairs.reduce import count_by_group, sum_by_group
from keras_trainsteps.queries import RankingRows, query_order
from keras_trainsteps.step import running

Ties = Literal["stable", "average", "random"]


class RankedRows(NamedTuple):
    """The rows of a batch, sorted by query and within a query from the best score down.

    Attributes:
        y_true: Labels, float64, shape `(rows,)`.
        query: Query index, int32, shape `(rows,)`; -1 for a masked row.
        rank: Position in the query, from 1, float64, shape `(rows,)`; 1 for a masked row.
        tie: Index of the run of rows whose order is averaged over, int32, shape
            `(rows,)`. `None` under the other tie rules: each row is a run of its own.
        tied: Whether any run is longer than a row, a bool scalar; `None` with `tie`.
        num_queries: A scalar above every query index.
        retrieved: Whether a row has a score above minus infinity, bool, shape `(rows,)`.
        relevant_from: The lowest label that is relevant. `None`: every label above 0.
        row_weight: Weight of each row within its query, float64, or `None`.
    """

    y_true: tf.Tensor
    query: tf.Tensor
    rank: tf.Tensor
    tie: tf.Tensor | None
    tied: tf.Tensor | None
    num_queries: tf.Tensor
    retrieved: tf.Tensor
    relevant_from: float | None = None
    row_weight: tf.Tensor | None = None

    def sum(self, values: tf.Tensor) -> tf.Tensor:
        """The sum of the rows of each query, shape `(num_queries,)`."""
        return sum_by_group(values, self.query, self.num_queries)

    def at_rows(self, values: tf.Tensor) -> tf.Tensor:
        """Each row's entry of a `(num_queries,)` tensor."""
        return tf.gather(values, tf.maximum(self.query, 0))

    def expected(self, of_rank: tf.Tensor) -> tf.Tensor:
        """What a function of the rank is for each row, as a mean over the orders of ties."""
        found: tf.Tensor = self.with_ties(lambda tie: mean_of_runs(of_rank, tie), lambda: of_rank)
        return found

    def with_ties(self, tied: Callable[[tf.Tensor], Any], untied: Callable[[], Any]) -> Any:
        """`tied(tie)` where orders of equal scores are averaged and there are any."""
        if self.tie is None or self.tied is None:
            return untied()
        tie = self.tie
        return tf.cond(self.tied, lambda: tied(tie), untied)

    @property
    def relevant(self) -> tf.Tensor:
        """1 for a row that is relevant, else 0; float64, 0 for masked rows."""
        return tf.cast(
            is_relevant(self.y_true, self.relevant_from) & (self.query >= 0), tf.float64
        )

    def first(self, k: int | None, rank: tf.Tensor | None = None) -> tf.Tensor:
        """1 for the first `k` ranks, else 0, float64; of the rows, or of other ranks."""
        rank = self.rank if rank is None else rank
        return tf.ones_like(rank) if k is None else tf.cast(rank <= k, tf.float64)

    def within(self, k: int | None) -> tf.Tensor:
        """1 for rows that are retrieved among the first `k`, else 0, float64."""
        inside = self.retrieved if k is None else self.retrieved & (self.rank <= k)
        return tf.cast(inside, tf.float64)

    def weighed(self, values: tf.Tensor) -> tf.Tensor:
        """The values times the weights of their rows, where there are any."""
        return values if self.row_weight is None else values * self.row_weight

    def of_retrieved(self, values: tf.Tensor) -> tf.Tensor:
        """The values, 0 in rows that are not retrieved."""
        return tf.where(self.retrieved, values, tf.zeros_like(values))


def mean_of_runs(values: tf.Tensor, run: tf.Tensor) -> tf.Tensor:
    """For each row the mean of the values of its run; runs are numbered from 0."""
    runs = tf.size(run)
    size = tf.cast(tf.maximum(count_by_group(run, runs), 1), values.dtype)
    return tf.gather(sum_by_group(values, run, runs) / size, run)


def is_relevant(labels: tf.Tensor, relevant_from: float | None) -> tf.Tensor:
    """Whether each label counts as relevant, bool."""
    return labels > 0 if relevant_from is None else labels >= relevant_from


def rank_rows(rows: RankingRows, ties: Ties, seed: Any = None) -> RankedRows:
    """Sorts rows by query and descending score; once for all metrics of a step.

    Args:
        rows: The rows. A score that is NaN ranks as 0.
        ties: Of equal scores, `"stable"` keeps the order of the rows, `"random"` draws
            one, and `"average"` stands for all orders (`RankedRows.tie`).
        seed: Two int64 numbers, for `"random"`.
    """
    scores, query = rows.y_pred, rows.query
    if seed is None:
        given = scores, query, rows.num_queries, ties
        ranking = running.shared(lambda: _ranking(*given), "ranking", *given)
    else:
        keys = tf.random.stateless_uniform(tf.shape(scores), seed, dtype=tf.float64, alg="philox")
        ranking = _ranking(scores, query, rows.num_queries, ties, tf.argsort(keys))
    order, query, rank, tie, tied, retrieved = ranking
    y_true = tf.gather(rows.y_true, order)
    weight = None if rows.row_weight is None else tf.gather(rows.row_weight, order)
    return RankedRows(
        y_true, query, rank, tie, tied, rows.num_queries, retrieved, row_weight=weight
    )


def _ranking(
    scores: tf.Tensor,
    query: tf.Tensor,
    num_queries: tf.Tensor,
    ties: Ties,
    first: tf.Tensor | None = None,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor | None, tf.Tensor | None, tf.Tensor]:
    """The order of the rows and, in this order, the other fields of `RankedRows`."""
    plain = tf.where(tf.math.is_nan(scores), tf.zeros_like(scores), scores)
    order = query_order(query, plain, first)
    query = tf.gather(query, order)
    place = tf.range(tf.size(order))
    begin = tf.math.unsorted_segment_min(place, query, num_queries)
    rank = place - tf.gather(begin, tf.maximum(query, 0)) + 1
    rank = tf.cast(tf.where(query < 0, 1, rank), tf.float64)
    plain = tf.gather(plain, order)
    retrieved = plain > -float("inf")
    if ties != "average":
        return order, query, rank, None, None, retrieved
    new = (query[1:] != query[:-1]) | (plain[1:] != plain[:-1]) | (query[1:] < 0)
    tie = tf.concat([place[:1], tf.cumsum(tf.cast(new, tf.int32))], axis=0)
    return order, query, rank, tie, ~tf.reduce_all(new), retrieved
