"""Hypothesis-made batches of ranking rows."""

from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st


class Rows(NamedTuple):
    """Flat rows; `query_weight` is the same for all rows of a query."""

    y_true: np.ndarray
    y_pred: np.ndarray
    query_ids: np.ndarray
    mask: np.ndarray
    sample_weight: np.ndarray
    query_weight: np.ndarray


@st.composite
def row_batches(draw, distinct_labels=False):
    """Up to 10 rows of up to 3 queries, some masked, some of weight 0."""
    n = draw(st.integers(1, 10))

    def column(values):
        return draw(st.lists(values, min_size=n, max_size=n))

    ids = column(st.sampled_from([-5, 7, 2**40]))
    labels = column(st.integers(0, 3))
    if distinct_labels:
        labels = draw(st.permutations([i / 3 for i in range(n)]))
    query_weight = draw(st.lists(st.sampled_from([0.0, 0.5, 2.0]), min_size=3, max_size=3))
    return Rows(
        np.array(labels, np.float64),
        np.array(column(st.floats(-5, 5, width=32)), np.float64),
        np.array(ids, np.int64),
        np.array(column(st.booleans())),
        np.array(column(st.sampled_from([0.0, 0.5, 1.0, 2.5])), np.float64),
        np.array([query_weight[[-5, 7, 2**40].index(i)] for i in ids]),
    )


def padded(batch, extra=0):
    """The same batch as lists of equal size, one a query; padding is masked NaN."""
    queries = list(dict.fromkeys(batch.query_ids))
    lists = [np.flatnonzero(batch.query_ids == query) for query in queries]
    shape = (len(lists), max(map(len, lists)) + extra)
    fill = Rows(np.nan, np.nan, 0, False, 1.0, 0.0)
    columns = []
    for value, filler in zip(batch, fill, strict=True):
        table = np.full(shape, filler, value.dtype)
        for row, members in enumerate(lists):
            table[row, : len(members)] = value[members]
        columns.append(table)
    places = np.zeros(len(batch.query_ids), int)
    for row, members in enumerate(lists):
        places[members] = row * shape[1] + np.arange(len(members))
    weight = np.array([batch.query_weight[members[0]] for members in lists])
    return Rows(*columns)._replace(query_weight=weight), places
