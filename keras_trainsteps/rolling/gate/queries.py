"""What a metric makes of queries without a relevant row, said beside its outcome."""

from __future__ import annotations

import numpy as np

from keras_trainsteps.metrics.bootstrap import Floats
from keras_trainsteps.metrics.by_query import Queries, QueryFunction
from keras_trainsteps.metrics.query_metric import QueryMetric


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
