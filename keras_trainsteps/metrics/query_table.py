"""A line per query: the values of metrics, and how sure their means are."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from keras_trainsteps.metrics.bootstrap import Floats, bootstrap_mean
from keras_trainsteps.validation import as_count, is_number


class Interval(NamedTuple):
    """A mean over queries and how sure it is.

    Attributes:
        mean: The mean, which is the metric's result over the same rows.
        low: Where the interval begins; minus infinity for fewer than two queries.
        high: Where it ends.
        queries: How many queries have a value.

    Example:

    >>> Interval(0.5, 0.4, 0.6, 100).low
    0.4
    """

    mean: float
    low: float
    high: float
    queries: int


class QueryTable:
    """The values of metrics, a line per query; `per_query` makes it.

    Args:
        ids: The id of each query, shape `(queries,)`.
        rows: The number of rows of each query, shape `(queries,)`.
        values: The value of each metric per query, by name; NaN for a query that the metric
            leaves out, or that has a NaN score.
        weights: What each query weighs in the mean of a metric, by name: 0 where it is left out.

    Example:

    >>> table = QueryTable(
    ...     ids=np.array([7, 8]),
    ...     rows=np.array([3, 2]),
    ...     values={"mrr": np.array([1.0, 0.5])},
    ...     weights={"mrr": np.ones(2)},
    ... )
    >>> print(table)
    id  rows  mrr
    7   3     1.0000
    8   2     0.5000
    >>> table.worst("mrr", 1).tolist()
    [8]
    """

    def __init__(
        self,
        ids: npt.NDArray[Any],
        rows: npt.NDArray[np.int_],
        values: dict[str, Floats],
        weights: dict[str, Floats],
    ) -> None:
        self.ids, self.rows, self.values, self.weights = ids, rows, values, weights

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, name: str) -> Floats:
        """The values of a metric."""
        return self.values[self.known(name)]

    def __str__(self) -> str:
        lines = [list(self.columns())]
        for line in zip(*self.columns().values(), strict=True):
            lines.append([_shown(value) for value in line])
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)

    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """All columns by name: `pandas.DataFrame(table.columns())`."""
        return {"id": self.ids, "rows": self.rows, **self.values}

    def worst(self, name: str, number: int = 10) -> npt.NDArray[Any]:
        """The ids of the queries with the lowest values, the lowest first."""
        values = self[name]
        order = np.argsort(values, kind="stable")
        return self.ids[order[: min(as_count("number", number), int(np.sum(~np.isnan(values))))]]

    def interval(
        self, name: str, *, confidence: float = 0.95, samples: int = 2000, seed: int = 0
    ) -> Interval:
        """The mean of a metric over queries, and an interval by drawing queries anew.

        Args:
            name: The name of the metric.
            confidence: Of the interval, two-sided, between 0 and 1. Default 0.95.
            samples: How often queries are drawn. Default 2000.
            seed: Of the draws. Default 0.

        Raises:
            ValueError: For an unknown name, a `confidence` that is not between 0 and 1, and
                where no query has a value.
        """
        values, weights = self[name], self.weights[name]
        counted = weights > 0
        values, weights = values[counted], weights[counted]
        if not len(values):
            raise ValueError(f"{name!r} must have a value of some query. Received: none.")
        equal = bool((weights == weights[0]).all())
        low, high = bootstrap_mean(
            values,
            samples=as_count("samples", samples),
            confidence=checked_confidence(confidence),
            seed=seed,
            weights=None if equal else weights,
        )
        mean = float(np.average(values, weights=weights))
        return Interval(mean, float(low), float(high), len(values))

    def known(self, name: str) -> str:
        """The name, if it is that of a metric of the table."""
        if name not in self.values:
            raise ValueError(
                f"`name` must be a metric of the table, {sorted(self.values)}. "
                f"Received: {name!r}."
            )
        return name


def checked_confidence(value: Any) -> float:
    """A confidence between 0 and 1; anything else is refused."""
    if not (is_number(value) and 0 < value < 1):
        raise ValueError(f"`confidence` must be between 0 and 1. Received: {value!r}.")
    return float(value)


def _shown(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
