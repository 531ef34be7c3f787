"""One number per query: of a metric of the library, or of a function of one query."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from keras_trainsteps.metrics.bootstrap import Floats
from keras_trainsteps.metrics.query_metric import QueryMetric
from keras_trainsteps.queries import ranking_rows
from keras_trainsteps.validation import refuse

Integers = npt.NDArray[np.int_]
QueryFunction = Callable[[Any, Any], float]


class Queries(NamedTuple):
    """Rows in the order of their queries.

    Attributes:
        order: The rows of the first query, then those of the second, and so on.
        query: The index of the query of each of them, ascending.
        sizes: The number of rows per query.
        ids: The id of each query, ascending.
    """

    order: Integers
    query: Integers
    sizes: Integers
    ids: npt.NDArray[Any]

    def split(self, values: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
        """The values of each query, one value per row, in the order of the rows."""
        return np.split(values[self.order], np.cumsum(self.sizes)[:-1])


def group(query_ids: npt.NDArray[Any]) -> Queries:
    """Groups rows by their ids; the order of rows within a query stays."""
    ids, query = np.unique(query_ids, return_inverse=True)
    order = np.argsort(query, kind="stable")
    return Queries(order, query[order], np.bincount(query), ids)


def values_by_query(
    metric: QueryMetric | QueryFunction, labels: Floats, scores: Floats, queries: Queries
) -> Floats:
    """The value of a metric per query; NaN for a query that the metric leaves out.

    Raises:
        ValueError: For labels that a metric of the library refuses.
    """
    return values_and_weights(metric, labels, scores, queries)[0]


def values_and_weights(
    metric: QueryMetric | QueryFunction, labels: Floats, scores: Floats, queries: Queries
) -> tuple[Floats, Floats]:
    """The value of a metric per query, NaN where it has none, and what it weighs in the mean."""
    if not isinstance(metric, QueryMetric):
        split = zip(queries.split(labels), queries.split(scores), strict=True)
        found = np.array([metric(*one) for one in split], dtype="float64")
        return found, np.where(np.isnan(found), 0.0, 1.0)
    if metric.relevance is not None:
        metric.relevance.check(labels)
    order = queries.order
    rows = ranking_rows(labels[order], scores[order], query_ids=queries.query)
    broken = ~metric.valid_labels(rows.y_true)
    rows = rows._replace(y_true=refuse(rows.y_true, broken, "label", *metric.label_rule))
    values, counts = (np.asarray(part, "float64") for part in metric.query_values(rows))
    unknown = np.bincount(queries.query, np.isnan(scores[order])) > 0
    values = np.where(unknown, np.nan, values)
    return np.where(counts > 0, values, np.nan), counts
