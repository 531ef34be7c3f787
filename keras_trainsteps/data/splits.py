"""Rows to train on and rows to test on, no query in both."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from keras_trainsteps.data.arrays import checked_ids
from keras_trainsteps.data.groups import is_count


def split_by_query(
    query_ids: npt.ArrayLike, *, test_size: float = 0.2, seed: int | None = 0
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Rows to train on and rows to test on, with every query whole in one of them.

    A split by rows tests on queries that were trained on, which looks better than it is. The
    rows are indices, for arrays (`features[train]`) and as one of the splits that `cv=` of
    scikit-learn takes. For several folds, its `GroupKFold().split(x, y, groups=query_ids)` takes
    the same ids.

    Args:
        query_ids: Integer or string ids, one per row, in any order.
        test_size: The share of the queries to test on, between 0 and 1, or their number. At
            least one query is left on either side. Default 0.2.
        seed: Draws the queries, the same each time. Default 0; `None` draws others each time.

    Returns:
        `(train, test)`: the numbers of the rows, ascending, int64.

    Raises:
        TypeError: For ids that are neither integers nor strings.
        ValueError: For fewer than two queries, and a `test_size` that is no share or number of
            them.

    Example:

    >>> train, test = split_by_query(["a", "b", "a", "c", "b"], test_size=1, seed=1)
    >>> train.tolist(), test.tolist()
    ([1, 3, 4], [0, 2])
    """
    ids = checked_ids(np.asarray(query_ids), "query_ids")
    queries, query = np.unique(ids, return_inverse=True)
    number = len(queries)
    if number < 2:
        raise ValueError(
            "`query_ids` must be of two queries or more: one to train on, one to test on. "
            f"Received: {number}."
        )
    if is_count(test_size):
        tested = int(test_size)
    elif isinstance(test_size, float | np.floating) and 0 < test_size < 1:
        tested = min(max(round(float(test_size) * number), 1), number - 1)
    else:
        tested = 0
    if not 0 < tested < number:
        raise ValueError(
            "`test_size` must be a share of the queries between 0 and 1, or a number of them "
            f"that leaves some to train on. Received: {test_size!r} of {number} queries."
        )
    drawn = np.random.default_rng(seed).permutation(number)[:tested]
    is_test = np.isin(query, drawn)
    return np.flatnonzero(~is_test), np.flatnonzero(is_test)
