"""The best rows of each query."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from keras_trainsteps.data.arrays import checked_ids
from keras_trainsteps.data.groups import is_count


class TopK(NamedTuple):
    """The best rows of each query, a line for each: `pandas.DataFrame(found._asdict())`.

    Attributes:
        query_ids: The query, in the order in which queries have their first rows.
        ranks: The rank in the query, from 1.
        ids: The id of the row, or its number.
        scores: Its score.

    Example:

    >>> found = TopK(np.array([7]), np.array([1]), np.array(["hotel"]), np.array([0.5]))
    >>> found.ids.tolist()
    ['hotel']
    """

    query_ids: npt.NDArray[Any]
    ranks: npt.NDArray[np.int64]
    ids: npt.NDArray[Any]
    scores: npt.NDArray[Any]


def top_k(
    scores: npt.ArrayLike,
    query_ids: npt.ArrayLike,
    k: int | None = None,
    *,
    row_ids: npt.ArrayLike | None = None,
) -> TopK:
    """The `k` best rows of each query, ranked: what to show, or to write out as a run.

    ```
    ranks of a query: its rows by descending score, equal scores in the order of the rows
    ```

    Args:
        scores: Scores, shape `(rows,)` or `(rows, 1)`, as `model.predict` gives them. A row of
            minus infinity is not retrieved, and left out.
        query_ids: Integer or string ids, one per row, in any order.
        k: How many rows of each query, at least 1; of a shorter one all. Default: all.
        row_ids: What rows are called, one per row, as ids of items. Default: their numbers.

    Returns:
        A `TopK`.

    Raises:
        TypeError: For ids that are neither integers nor strings.
        ValueError: For a `k` below 1, columns of different lengths, and NaN scores.

    Example:

    >>> found = top_k([0.1, 0.9, 0.5, 0.2], ["x", "y", "x", "x"], 2, row_ids=list("abcd"))
    >>> [column.tolist() for column in found[:3]]
    [['x', 'x', 'y'], [1, 2, 1], ['c', 'd', 'b']]
    """
    if k is not None and not (is_count(k) and k >= 1):
        raise ValueError(f"`k` must be an integer of at least 1. Received: {k!r}.")
    given = np.asarray(scores)
    if given.ndim == 2 and given.shape[1] == 1:
        given = given[:, 0]
    ids = checked_ids(np.asarray(query_ids), "query_ids")
    rows = np.arange(len(ids)) if row_ids is None else np.asarray(row_ids)
    if given.shape != ids.shape or rows.shape[:1] != ids.shape:
        raise ValueError(
            "`scores`, `query_ids` and `row_ids` must have one entry per row. Received: shapes "
            f"{given.shape}, {ids.shape} and {rows.shape}."
        )
    if np.isnan(given).any():
        raise ValueError("`scores` must be numbers, to be ranked. Received: NaN.")
    _, first, query = np.unique(ids, return_index=True, return_inverse=True)
    order = np.lexsort((-given, first[query]))
    order = order[given[order] > -np.inf]
    query = query[order]
    new = np.ones(len(query), bool)
    new[1:] = query[1:] != query[:-1]
    begin = np.flatnonzero(new)
    ranks = np.arange(len(query)) - np.repeat(begin, np.diff(np.append(begin, len(query)))) + 1
    kept = ranks <= (len(ids) if k is None else k)
    order, ranks = order[kept], ranks[kept]
    return TopK(ids[order], ranks, rows[order], given[order])
