"""The base of metrics that are means over queries."""

from __future__ import annotations

from typing import Any, Literal

import keras
import tensorflow as tf

from keras_trainsteps import side_inputs
from keras_trainsteps.queries import RankingRows, ranking_rows

NoRelevant = Literal["zero", "one", "skip"]


class QueryMetric(keras.metrics.Metric):
    """A mean over the queries of an epoch. A subclass fills `query_values`.

    The state is a sum and a count, over queries and not over batches, in float64. A query
    must come whole in one batch (`data.query_batches`): the parts of a query that is cut
    by a batch border count as queries of their own.

    As one of `metrics=[...]` every query counts the same. As one of
    `weighted_metrics=[...]` a query weighs the mean of its rows' `sample_weight`.

    Args:
        query_ids: The name of the side input with the query ids; `None` for padded lists.
        mask: The name of the side input with the mask. Default: none.
        name: Name of the metric.
    """

    def __init__(self, query_ids: str | None, *, mask: str | None, name: str) -> None:
        super().__init__(name=name, dtype="float64")
        self.query_ids, self.mask = query_ids, mask
        self._direction = "up"  # what callbacks that monitor it take for better
        self.total = self.add_variable((), "zeros", dtype="float64", name="total")
        self.count = self.add_variable((), "zeros", dtype="float64", name="count")

    @property
    def side_inputs(self) -> tuple[str, ...]:
        """The names of the entries of `x` that the metric reads."""
        return tuple(name for name in (self.query_ids, self.mask) if name is not None)

    def query_values(self, rows: RankingRows) -> tuple[tf.Tensor, tf.Tensor]:
        """The value of each query, and 1 or 0 for whether the query counts."""
        raise NotImplementedError(f"{type(self).__name__} must define `query_values`.")

    def update_state(
        self,
        y_true: Any,
        y_pred: Any,
        sample_weight: Any = None,
        *,
        query_ids: Any = None,
        mask: Any = None,
    ) -> None:
        """Adds the queries of a batch.

        Args:
            y_true: Labels, shape `(rows,)` or `(rows, 1)`, or padded lists.
            y_pred: Scores, same number of entries.
            sample_weight: Weights, one a row.
            query_ids: Ids, one a row. Default: the side input that the metric names.
            mask: Bool, one a row. Default: the side input that the metric names.
        """
        if query_ids is None and self.query_ids is not None:
            query_ids = side_inputs.current(self.query_ids)
        if mask is None and self.mask is not None:
            mask = side_inputs.current(self.mask)
        rows = ranking_rows(
            y_true, y_pred, query_ids=query_ids, mask=mask, sample_weight=sample_weight
        )
        values, counts = self.query_values(rows)
        counts = tf.cast(counts, tf.float64)
        if rows.weight is not None:
            weights = tf.math.unsorted_segment_mean(
                tf.cast(rows.weight, tf.float64), rows.query, rows.num_queries
            )
            counts = counts * weights
        if rows.owned is not None:
            counts = tf.where(rows.owned, counts, 0)
        values = tf.where(counts > 0, tf.cast(values, tf.float64), 0)
        self.total.assign_add(tf.reduce_sum(values * counts))
        self.count.assign_add(tf.reduce_sum(counts))

    def result(self) -> tf.Tensor:
        return tf.math.divide_no_nan(
            tf.convert_to_tensor(self.total), tf.convert_to_tensor(self.count)
        )

    def get_config(self) -> dict[str, Any]:
        return {"query_ids": self.query_ids, "mask": self.mask, "name": self.name}


def has_rows(rows: RankingRows) -> tf.Tensor:
    """Whether each query index has a row."""
    ones = tf.ones_like(rows.query)
    return tf.math.unsorted_segment_sum(ones, rows.query, rows.num_queries) > 0


def ranks(key: tf.Tensor, rows: RankingRows) -> tf.Tensor:
    """The position, from 0, of each row among those of its query by descending `key`.

    Ties keep the order of the rows. Rows of no query get meaningless positions.
    """
    count = tf.shape(key)[0]
    by_key = tf.argsort(key, direction="DESCENDING", stable=True)
    order = tf.gather(by_key, tf.argsort(tf.gather(rows.query, by_key), stable=True))
    place = tf.scatter_nd(order[:, None], tf.range(count), tf.shape(key))
    first = tf.math.unsorted_segment_min(place, rows.query, rows.num_queries)
    return place - tf.gather(first, tf.maximum(rows.query, 0))
