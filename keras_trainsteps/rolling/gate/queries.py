"""One number per query: of a metric of the library, or of a function of one query."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from keras_trainsteps.metrics.query_metric import QueryMetric
from keras_trainsteps.queries import ranking_rows
from keras_trainsteps.validation import refuse

Floats = npt.NDArray[np.floating[Any]]
Integers = npt.NDArray[np.int_]
QueryFunction = Callable[[Any, Any], float]


class Queries(NamedTuple):
    """Rows in the order of their queries.

    Attributes:
        order: The rows of the first query, then those of the second, and so on.
        query: The index of the query of each of them, ascending.
        sizes: The number of rows per query.
    """

    order: Integers
    query: Integers
    sizes: Integers

    def split(self, values: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
        """The values of each query, one value per row, in the order of the rows."""
        return np.split(values[self.order], np.cumsum(self.sizes)[:-1])


def group(query_ids: npt.NDArray[Any]) -> Queries:
    """Groups rows by their ids; the order of rows within a query stays."""
    _, query = np.unique(query_ids, return_inverse=True)
    order = np.argsort(query, kind="stable")
    return Queries(order, query[order], np.bincount(query))


def values_by_query(
    metric: QueryMetric | QueryFunction, labels: Floats, scores: Floats, queries: Queries
) -> Floats:
    """The value of a metric per query; NaN for a query that the metric leaves out.

    Raises:
        ValueError: For labels that a metric of the library refuses.
    """
    if not isinstance(metric, QueryMetric):
        split = zip(queries.split(labels), queries.split(scores), strict=True)
        return np.array([metric(*one) for one in split], dtype="float64")
    if metric.relevance is not None:
        metric.relevance.check(labels)
    order = queries.order
    rows = ranking_rows(labels[order], scores[order], query_ids=queries.query)
    broken = ~metric.valid_labels(rows.y_true)
    rows = rows._replace(y_true=refuse(rows.y_true, broken, "label", *metric.label_rule))
    values, counts = metric.query_values(rows)
    found: Floats = np.where(np.asarray(counts) > 0, np.asarray(values, "float64"), np.nan)
    return found


def named_convention(
    metric: QueryMetric | QueryFunction, values: Floats, labels: Floats, queries: Queries
) -> str:
    """What a metric makes of queries without a relevant row, in words; "" where there are none.

    Args:
        metric: The metric.
        values: Its value per query; NaN for a query that it leaves out.
        labels: One label per row.
        queries: The queries.
    """
    count, missing = len(queries.sizes), int(np.isnan(values).sum())
    if missing:
        return f"; {missing} of {count} queries are left out" if missing < count else ""
    lowest = getattr(metric, "relevant_from", None)
    relevant = labels > 0 if lowest is None else labels >= lowest
    without = int(np.sum(np.bincount(queries.query, relevant[queries.order]) == 0))
    counts = {"zero": "0", "one": "1"}.get(getattr(metric, "no_relevant", ""))
    if not without or counts is None:
        return ""
    return f"; {without} of {count} queries, without a relevant row, count {counts}"
