"""Weights of whole queries."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from keras_trainsteps import replicas
from keras_trainsteps.losses.ranking.segments import take
from keras_trainsteps.pairs.reduce import sum_by_group
from keras_trainsteps.queries import RankingRows, checked_weights
from keras_trainsteps.validation import as_float


def query_weights(
    query_weight: Any, y_pred: tf.Tensor, padded: bool, rows: RankingRows
) -> tf.Tensor:
    """One weight per query index, float64, shape `(num_queries,)`.

    `query_weight` is one per list for padded lists, with ids one per row, the same for all rows
    of a query.
    """
    num_queries = rows.num_queries
    weight = as_float("query_weight", query_weight, tf.float64)
    wanted = y_pred.shape[0]
    column = weight.shape.rank == 2 and weight.shape[1] == 1
    if not (weight.shape.rank == 1 or column) or (
        None not in (wanted, weight.shape[0]) and wanted != weight.shape[0]
    ):
        form = "one a list, shape (queries,)" if padded else "one a row, shape (rows,)"
        raise ValueError(
            f"`query_weight` must be {form}, the same for all rows of a query. "
            f"Received: shape {tuple(weight.shape)} for scores of shape "
            f"{tuple(y_pred.shape)}."
        )
    weight = tf.reshape(checked_weights(weight, "query_weight"), (-1,))
    if padded:
        weight = tf.repeat(weight, tf.shape(y_pred)[1])
    weight = replicas.gather_rows(weight)
    # The first row's weight; a query whose rows are all masked has no row, and weight 0.
    size = tf.shape(weight)[0]
    first = tf.math.unsorted_segment_min(tf.range(size), rows.query, num_queries)
    used = first < size
    weights = take(weight, tf.where(used, first, tf.zeros_like(first)))
    weights = tf.where(used, weights, tf.zeros_like(weights))
    if tf.executing_eagerly():
        same = tf.gather(weights, tf.maximum(rows.query, 0)) == weight
        if not bool(tf.reduce_all(same | (rows.query < 0))):
            raise ValueError(
                "`query_weight` must be the same for all rows of a query. Received: "
                "different weights within one query. Use `sample_weight` for weights "
                "of rows."
            )
    return weights


def relevant_weights(
    labels: tf.Tensor, weight: tf.Tensor, query: tf.Tensor, num_queries: tf.Tensor
) -> tf.Tensor:
    """What the rows of each query weigh on average, by their labels: `sum w * y / sum y`.

    Float64, shape `(num_queries,)`; 0 for a query without a label above 0.
    """
    weighed, worth = (
        sum_by_group(values, query, num_queries) for values in (weight * labels, labels)
    )
    return tf.math.divide_no_nan(weighed, worth)
