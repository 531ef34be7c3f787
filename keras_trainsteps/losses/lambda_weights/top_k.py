"""Weights that look at the first ranks, and at gains."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from keras_trainsteps.losses.lambda_weights.base import LambdaWeight
from keras_trainsteps.queries import (
    Discount,
    Gains,
    RankingRows,
    as_discount,
    as_gains,
    discounts_of,
    gains_of,
    grow_with_labels,
    ranks,
    relative_gains_of,
)
from keras_trainsteps.queries.gains import from_config, to_config
from keras_trainsteps.validation import as_count


class OfGains(LambdaWeight):
    """A weight made of gains and of what the first `k` ranks leave of them."""

    gains: Gains

    def __init__(
        self,
        k: int | None = None,
        *,
        gains: Gains = "exponential",
        discount: Discount = "log2",
        weigh_gains: bool = False,
    ) -> None:
        self.k = None if k is None else as_count("k", k)
        self.gains, self.discount = as_gains(gains), as_discount(discount)
        self.weigh_gains = weigh_gains

    def get_config(self) -> dict[str, Any]:
        return {
            "k": self.k,
            "gains": to_config(self.gains),
            "discount": to_config(self.discount),
            "weigh_gains": self.weigh_gains,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> LambdaWeight:
        return cls(**{name: from_config(value) for name, value in config.items()})

    def discounts(self, rank: tf.Tensor) -> tf.Tensor:
        """What ranks from 1 leave of a gain, 0 beyond `k`; float64."""
        discount = discounts_of(self.discount, rank)
        return discount if self.k is None else tf.where(rank <= self.k, discount, 0)

    def row_gains(self, rows: RankingRows) -> tf.Tensor:
        """The gain of each row, float64."""
        return self._weighed(gains_of(self.gains, rows.y_true), rows)

    def gains_over_best(self, rows: RankingRows) -> tf.Tensor:
        """Gains over the best DCG@k of the query; 0 where that is 0."""
        gain = relative_gains_of(self.gains, rows.y_true, rows.query, rows.num_queries)
        gain = self._weighed(gain, rows)
        # Sorting labels takes one sort where sorting gains may take two.
        by_label = grow_with_labels(self.gains) and not self._has_weights(rows)
        best = tf.math.unsorted_segment_sum(
            gain * self.discounts(ranks_from_1(rows.y_true if by_label else gain, rows)),
            rows.query,
            rows.num_queries,
        )
        return tf.math.divide_no_nan(gain, tf.gather(best, tf.maximum(rows.query, 0)))

    def _has_weights(self, rows: RankingRows) -> bool:
        return self.weigh_gains and rows.weight is not None

    def _weighed(self, gain: tf.Tensor, rows: RankingRows) -> tf.Tensor:
        return gain * rows.weight if self._has_weights(rows) else gain


def ranks_from_1(key: tf.Tensor, rows: RankingRows) -> tf.Tensor:
    """Ranks from 1 by descending key, float64."""
    return tf.cast(ranks(tf.stop_gradient(key), rows), tf.float64) + 1
