"""The values of metrics query by query."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from keras_trainsteps.metrics.by_query import group, values_and_weights
from keras_trainsteps.metrics.query_metric import QueryMetric
from keras_trainsteps.metrics.query_table import QueryTable


def per_query(
    metrics: QueryMetric | Sequence[QueryMetric],
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    *,
    query_ids: npt.ArrayLike,
    mask: npt.ArrayLike | None = None,
) -> QueryTable:
    """The values of metrics of each query, for a look at errors and for paired tests.

    They are those that the metrics average: with ties, masks, relevance and gains as each says.

    ```
    metric.result() = sum_q w_q * v_q / sum_q w_q
    ```

    Args:
        metrics: A metric that takes query ids, or several of different names. Their state is
            neither read nor changed.
        y_true: Labels, shape `(rows,)` or `(rows, 1)`.
        y_pred: Scores, of the same number of entries, as `model.predict` gives them. A row of
            minus infinity was not retrieved.
        query_ids: Integer or string ids, one per row, in any order.
        mask: Bool, one per row: rows where it is `False` are left out. Default: none is.

    Returns:
        A `QueryTable`, with a line for each query that has a row, by ascending id.

    Raises:
        TypeError: For what is no metric by query.
        ValueError: For columns of different lengths, two metrics of one name, no rows, and
            labels that a metric refuses.

    Example:

    >>> from keras_trainsteps.metrics import MRR, NDCG
    >>> labels, scores = [0, 1, 1, 0], [3.0, 2.0, 1.0, 0.0]
    >>> table = per_query([NDCG(k=1), MRR()], labels, scores, query_ids=["b", "b", "a", "a"])
    >>> print(table)
    id  rows  ndcg@1  mrr
    a   2     1.0000  1.0000
    b   2     0.0000  0.5000
    >>> table.interval("mrr").mean
    0.75
    """
    given = [metrics] if isinstance(metrics, QueryMetric) else list(metrics)
    for metric in given:
        if not isinstance(metric, QueryMetric):
            raise TypeError(
                "`metrics` must be metrics by query, as `NDCG(k=10)`. "
                f"Received: {type(metric).__name__}."
            )
    names = [metric.name for metric in given]
    if len(set(names)) < len(names) or not names:
        raise ValueError(
            f"`metrics` must have different names. Received: {names}. Pass `name=` to each."
        )
    labels, scores = (_column(name, v) for name, v in (("y_true", y_true), ("y_pred", y_pred)))
    ids = _column("query_ids", query_ids)
    kept = np.ones(len(ids), bool) if mask is None else _column("mask", mask).astype(bool)
    if not len(labels) == len(scores) == len(ids) == len(kept) > 0:
        raise ValueError(
            "`y_true`, `y_pred`, `query_ids` and `mask` must have one entry per row, for a row "
            f"or more. Received: {len(labels)}, {len(scores)}, {len(ids)}, {len(kept)} entries."
        )
    labels, scores = (column[kept].astype("float64") for column in (labels, scores))
    queries = group(ids[kept])
    found = [values_and_weights(metric, labels, scores, queries) for metric in given]
    values = {name: each for name, (each, _) in zip(names, found, strict=True)}
    weights = {name: each for name, (_, each) in zip(names, found, strict=True)}
    return QueryTable(queries.ids, queries.sizes, values, weights)


def _column(name: str, values: npt.ArrayLike) -> npt.NDArray[Any]:
    array = np.asarray(values)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise ValueError(
            f"`{name}` must have one entry per row, shape (rows,) or (rows, 1). "
            f"Received: shape {array.shape}."
        )
    return array
