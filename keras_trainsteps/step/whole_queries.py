"""Queries of arrays whose rows `fit` would put into several batches."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

KERAS_BATCH_SIZE = 32  # of arrays, where none is given


def warn_of_cut_queries(
    names: Iterable[str], x: Any, batch_size: int | None, shuffle: bool
) -> None:
    """Warns of queries of arrays that `fit` will scatter over several batches."""
    if not isinstance(x, Mapping):
        return
    for name in sorted(set(names) & set(x)):
        cut, queries = _cut_queries(x[name], batch_size, shuffle)
        if cut:
            warnings.warn(
                f"{cut} of {queries} queries of `{name}` have rows that `fit` puts into "
                "different batches: pairs between these are not trained on. Pass "
                "`data.query_batches` instead.",
                stacklevel=4,
            )


def require_whole_queries(
    names: Iterable[tuple[str, str | None]], x: Any, batch_size: int | None, shuffle: bool
) -> None:
    """Refuses arrays whose batches cut queries of which a metric is the mean.

    Args:
        names: For each such metric the names of its query ids and of its mask, or `None`.
        x: The `x` of `fit` or `evaluate`; only a dict of arrays can be looked at.
        batch_size: As in Keras.
        shuffle: Whether rows are drawn at random.
    """
    for name, mask in names:
        ids = x.get(name) if isinstance(x, Mapping) else None
        if not hasattr(ids, "__array__"):
            continue
        kept = None if mask is None else x.get(mask)
        cut, queries = _cut_queries(ids, batch_size, shuffle, kept)
        if cut:
            raise ValueError(
                "A query must come whole in one batch: a metric is a mean over queries. "
                f"Received: rows of {cut} of {queries} queries of `{name}` in two batches or "
                "more. Make batches with `data.query_batches`, or set `split_queries` of "
                "the metric to count_parts."
            )


def _cut_queries(
    query_ids: Any, batch_size: int | None, shuffle: bool, mask: Any = None
) -> tuple[int, int]:
    """How many queries of arrays come in several batches, and how many there are."""
    batch_size = batch_size or KERAS_BATCH_SIZE
    if len(query_ids) <= batch_size:
        return 0, 0
    ids = np.asarray(query_ids).reshape(-1)
    place = np.arange(len(ids)) if shuffle else np.arange(len(ids)) // batch_size
    if mask is not None:
        kept = np.asarray(mask).reshape(-1).astype(bool)
        ids, place = ids[kept], place[kept]
    queries, query = np.unique(ids, return_inverse=True)
    pieces = np.unique(np.stack([query, place]), axis=1)[0]
    return int(np.sum(np.bincount(pieces) > 1)), len(queries)
