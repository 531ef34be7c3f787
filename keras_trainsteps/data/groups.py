"""Queries as other libraries have them: sizes of groups, and one number for each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from keras_trainsteps.data.arrays import checked_ids


def ids_of_groups(sizes: npt.ArrayLike, *, rows: int | None = None) -> npt.NDArray[np.int64]:
    """Query ids of rows that come group by group: `group` of XGBoost and LightGBM.

    Args:
        sizes: The number of rows of each group, in the order of the rows, at least 0.
        rows: How many rows there are, which the sizes must add up to. Default: not looked at.

    Returns:
        The number of the group of each row, from 0, int64.

    Raises:
        ValueError: For sizes that are no whole numbers of at least 0, or do not add up to `rows`.

    Example:

    >>> ids_of_groups([3, 1, 2]).tolist()
    [0, 0, 0, 1, 2, 2]
    """
    given = np.asarray(sizes)
    if given.ndim != 1 or given.dtype.kind not in "iu" or (given < 0).any():
        raise ValueError(
            "`sizes` must be whole numbers of at least 0, one for each group. "
            f"Received: {_few(given)}."
        )
    if rows is not None and given.sum() != rows:
        raise ValueError(
            f"`sizes` must add up to the number of rows. Received: {given.sum()} for {rows} rows."
        )
    return np.repeat(np.arange(len(given)), given)


def groups_of_ids(query_ids: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """The sizes of groups of rows that come query by query, as `group` of other libraries.

    Args:
        query_ids: Integer or string ids, one per row; those of a query one after the other.

    Returns:
        The number of rows of each query, in the order of the rows, int64.

    Raises:
        TypeError: For ids that are neither integers nor strings.
        ValueError: For a query whose rows do not lie together, which no group sizes can say.

    Example:

    >>> groups_of_ids(["b", "b", "a"]).tolist()
    [2, 1]
    """
    ids = checked_ids(np.asarray(query_ids), "query_ids")
    new = np.ones(len(ids), bool)
    new[1:] = ids[1:] != ids[:-1]
    first = np.flatnonzero(new)
    if len(np.unique(ids)) < len(first):
        runs, counts = np.unique(ids[first], return_counts=True)
        raise ValueError(
            "`query_ids` must come query by query where sizes of groups are wanted. Received: "
            f"rows of {runs[counts > 1][0].item()!r} in {counts[counts > 1][0]} places. Sort "
            "rows, labels and ids alike: `order = np.argsort(query_ids, kind='stable')`."
        )
    return np.diff(np.append(first, len(ids)))


def of_rows(
    values: Mapping[Any, float] | npt.ArrayLike, query_ids: npt.ArrayLike
) -> npt.NDArray[np.float64]:
    """One number a query as one a row: what `query_weight` and `sample_weight` take.

    Args:
        values: The number of each query: a dict by id, or an array in the order in which the
            queries have their first rows, as `weight` of XGBoost with groups.
        query_ids: Integer or string ids, one per row, in any order.

    Returns:
        The number of the query of each row, float64.

    Raises:
        TypeError: For ids that are neither integers nor strings.
        ValueError: For a query without a number, or an array of another length.

    Example:

    >>> of_rows({"a": 2.0, "b": 0.5}, ["b", "a", "b"]).tolist()
    [0.5, 2.0, 0.5]
    >>> of_rows([2.0, 0.5], [7, 3, 7]).tolist()
    [2.0, 0.5, 2.0]
    """
    ids = checked_ids(np.asarray(query_ids), "query_ids")
    queries, first, query = np.unique(ids, return_index=True, return_inverse=True)
    if isinstance(values, Mapping):
        missing = [key for key in queries.tolist() if key not in values]
        if missing:
            raise ValueError(
                "`values` must have a number for every query. Received: none for "
                f"{missing[0]!r}, and {len(missing) - 1} others."
            )
        by_query = np.array([values[key] for key in queries.tolist()], "float64")
        return by_query[query]
    given = np.asarray(values, "float64")
    if given.shape != queries.shape:
        raise ValueError(
            "`values` must have one number for each query. Received: shape "
            f"{given.shape} for {len(queries)} queries."
        )
    by_query = np.empty(len(queries))
    by_query[np.argsort(first)] = given
    return by_query[query]


def is_count(value: Any) -> bool:
    """Whether a value is an integer, of NumPy or not."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _few(values: npt.NDArray[Any]) -> str:
    shown = f"{values.dtype} of shape {values.shape}"
    return f"{values.tolist()}" if values.size <= 8 else shown
