"""The base of metrics of the order in which the scores put the rows of a query."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from keras_trainsteps import replicas
from keras_trainsteps.metrics.query_metric import NoRelevant, QueryMetric, has_rows
from keras_trainsteps.metrics.ranked_rows import RankedRows, Ties, rank_rows
from keras_trainsteps.metrics.split_queries import SplitQueries
from keras_trainsteps.queries import RankingRows
from keras_trainsteps.validation import require_choice


class RankedMetric(QueryMetric):
    """A mean over queries of a function of ranks. A subclass fills `ranked_values`.

    Args:
        query_ids: The name of the side input with the query ids; `None` for padded lists.
        k: Ranks that count, at least 1; `None` for all.
        mask: The name of the side input with the mask; `None` for none.
        ties: The rule for equal scores: `"stable"`, `"average"` or `"random"`.
        seed: An integer, for random ties. The orders differ from batch to batch, and are
            the same each time that an epoch starts from a reset state.
        no_relevant: What a query without a relevant row counts.
        split_queries: As in `QueryMetric`.
        name: Name of the metric.
    """

    def __init__(
        self,
        query_ids: str | None,
        *,
        k: int | None,
        mask: str | None,
        ties: Ties,
        seed: int,
        no_relevant: NoRelevant,
        split_queries: SplitQueries,
        name: str,
    ) -> None:
        super().__init__(query_ids, mask=mask, split_queries=split_queries, name=name)
        require_k(k)
        require_choice("ties", ties, Ties)
        require_choice("no_relevant", no_relevant, NoRelevant)
        if not isinstance(seed, int) or isinstance(seed, bool):
            raise TypeError(f"`seed` must be an integer. Received: {seed!r}.")
        self.k, self.ties, self.seed, self.no_relevant = k, ties, seed, no_relevant

    def ranked_values(self, ranked: RankedRows) -> tuple[tf.Tensor, tf.Tensor]:
        """The value of each query, and whether the query has a relevant row."""
        raise NotImplementedError(f"{type(self).__name__} must define `ranked_values`.")

    def query_values(self, rows: RankingRows) -> tuple[tf.Tensor, tf.Tensor]:
        seed = self._tie_seed() if self.ties == "random" else None
        values, relevant = self.ranked_values(rank_rows(rows, rows.y_pred, self.ties, seed))
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
        }

    def _tie_seed(self) -> tf.Tensor:
        """The seed and, new for each batch, the bits of the count of the queries so far."""
        so_far = tf.bitcast(tf.convert_to_tensor(self.count), tf.int64)
        seed = tf.stack([tf.constant(self.seed & 2**63 - 1, tf.int64), so_far])
        return replicas.gather_rows(seed)[:2]  # the same on every replica


def require_k(k: int | None) -> None:
    """Refuses a number of ranks below 1."""
    if k is not None and (not isinstance(k, int) or isinstance(k, bool) or k < 1):
        raise ValueError(f"`k` must be an integer of at least 1, or `None`. Received: {k!r}.")


def name_at(name: str, k: int | None) -> str:
    """The default name of a metric: `name`, or `name@k`."""
    return name if k is None else f"{name}@{k}"


def required_k(k: int) -> int:
    """A number of ranks that may not be left open."""
    if k is None:
        raise ValueError("`k` must be an integer of at least 1. Received: None.")
    return k
