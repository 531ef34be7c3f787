"""The base of metrics of the order in which the scores put the rows of a query."""

from __future__ import annotations

from typing import Any, ClassVar

import tensorflow as tf

from keras_trainsteps import replicas
from keras_trainsteps.metrics.query_metric import NoRelevant, QueryMetric, has_rows, name_at
from keras_trainsteps.metrics.ranked_rows import RankedRows, Ties, is_relevant, rank_rows
from keras_trainsteps.metrics.relevance import Relevance
from keras_trainsteps.metrics.relevant_weights import RelevantWeights, Weigh
from keras_trainsteps.metrics.split_queries import SplitQueries
from keras_trainsteps.queries import RankingRows
from keras_trainsteps.validation import as_count, as_integer, require_choice


class RankedMetric(QueryMetric):
    """A mean over queries of a function of ranks. A subclass fills `ranked_values`.

    Args:
        query_ids: As in `QueryMetric`.
        k: Ranks that count, at least 1; `None` for all.
        mask: As in `QueryMetric`.
        ties: The rule for equal scores: `"average"` (default), `"stable"` or `"random"`.
        seed: An integer, for random ties. The orders differ from batch to batch, and are
            the same each time that an epoch starts from a reset state.
        no_relevant: What a query without a relevant row counts.
        weigh: What a query weighs by the weights of its rows: their `"mean"` (default), or that
            of the `"relevant"` ones.
        split_queries: As in `QueryMetric`.
        name: Name of the metric. Default: that of the class, with `@k`.
    """

    no_relevant_choices: ClassVar[Any] = NoRelevant
    relevant_from: float | None = None

    def __init__(
        self,
        query_ids: str | None = "query_id",
        *,
        k: int | None = None,
        mask: str | None = None,
        ties: Ties = "average",
        seed: int = 0,
        no_relevant: NoRelevant = "zero",
        weigh: Weigh = "mean",
        split_queries: SplitQueries = "error",
        name: str | None = None,
    ) -> None:
        k = None if k is None else as_count("k", k)
        name = name or name_at(self.default_name, k)
        super().__init__(query_ids, mask=mask, split_queries=split_queries, name=name)
        require_choice("ties", ties, Ties)
        require_choice("no_relevant", no_relevant, self.no_relevant_choices)
        self.k, self.ties, self.no_relevant = k, ties, no_relevant
        self.seed = as_integer("seed", seed)
        require_choice("weigh", weigh, Weigh)
        self.weigh = weigh
        if weigh == "relevant":
            self.relevant_weights = RelevantWeights(self.add_variable)

    def ranked_values(self, ranked: RankedRows) -> tuple[tf.Tensor, tf.Tensor]:
        """The value of each query, and whether the query has a relevant row."""
        raise NotImplementedError(f"{type(self).__name__} must define `ranked_values`.")

    def worth(self, rows: RankingRows) -> tf.Tensor:
        relevant = is_relevant(rows.y_true, self.relevant_from) & (rows.query >= 0)
        return tf.cast(relevant, tf.float64)

    def query_values(self, rows: RankingRows) -> tuple[tf.Tensor, tf.Tensor]:
        seed = self._tie_seed() if self.ties == "random" else None
        ranked = rank_rows(rows, self.ties, seed)._replace(relevant_from=self.relevant_from)
        values, relevant = self.ranked_values(ranked)
        if self.no_relevant == "skip":
            return values, relevant
        rest = tf.constant(1.0 if self.no_relevant == "one" else 0.0, values.dtype)
        return tf.where(relevant, values, rest), has_rows(rows)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "k": self.k,
            "ties": self.ties,
            "seed": self.seed,
            "no_relevant": self.no_relevant,
            "weigh": self.weigh,
        }

    def _tie_seed(self) -> tf.Tensor:
        """The seed and, new for each batch, the bits of the count of the queries so far."""
        so_far = tf.bitcast(tf.convert_to_tensor(self.count), tf.int64)
        seed = tf.stack([tf.constant(self.seed & 2**63 - 1, tf.int64), so_far])
        return replicas.gather_rows(seed)[:2]  # the same on every replica


class RelevanceMetric(RankedMetric):
    """A metric of ranks that knows relevant rows and others, but no grades.

    Args:
        query_ids: As in `QueryMetric`.
        k: As in `RankedMetric`.
        mask: As in `QueryMetric`.
        relevant_from: The lowest label that is relevant. `None`: every label above 0.
        ties: As in `RankedMetric`.
        seed: As in `RankedMetric`.
        no_relevant: As in `RankedMetric`.
        weigh: As in `RankedMetric`.
        split_queries: As in `QueryMetric`.
        name: As in `RankedMetric`.
    """

    def __init__(
        self,
        query_ids: str | None = "query_id",
        *,
        k: int | None = None,
        mask: str | None = None,
        relevant_from: float | None = None,
        ties: Ties = "average",
        seed: int = 0,
        no_relevant: NoRelevant = "zero",
        weigh: Weigh = "mean",
        split_queries: SplitQueries = "error",
        name: str | None = None,
    ) -> None:
        super().__init__(
            query_ids,
            k=k,
            mask=mask,
            ties=ties,
            seed=seed,
            no_relevant=no_relevant,
            weigh=weigh,
            split_queries=split_queries,
            name=name,
        )
        self.relevance = Relevance(type(self).__name__, relevant_from, self.add_variable)
        self.relevant_from = self.relevance.relevant_from

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "relevant_from": self.relevant_from}


class AtK(RelevanceMetric):
    """A metric of the first `k` ranks, which means nothing without a `k`.

    Args:
        query_ids: As in `QueryMetric`.
        k: Ranks that count, at least 1. Required.
        mask: As in `QueryMetric`.
        relevant_from: As in `RelevanceMetric`.
        ties: As in `RankedMetric`.
        seed: As in `RankedMetric`.
        no_relevant: As in `RankedMetric`.
        weigh: As in `RankedMetric`.
        split_queries: As in `QueryMetric`.
        name: As in `RankedMetric`.
    """

    def __init__(
        self,
        query_ids: str | None = "query_id",
        *,
        k: int,
        mask: str | None = None,
        relevant_from: float | None = None,
        ties: Ties = "average",
        seed: int = 0,
        no_relevant: NoRelevant = "zero",
        weigh: Weigh = "mean",
        split_queries: SplitQueries = "error",
        name: str | None = None,
    ) -> None:
        super().__init__(
            query_ids,
            k=as_count("k", k),
            mask=mask,
            relevant_from=relevant_from,
            ties=ties,
            seed=seed,
            no_relevant=no_relevant,
            weigh=weigh,
            split_queries=split_queries,
            name=name,
        )
