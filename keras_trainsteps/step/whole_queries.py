"""Queries of arrays whose rows `fit` or `evaluate` would put into several batches."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

KERAS_BATCH_SIZE = 32  # of arrays, where none is given


class Arrays(NamedTuple):
    """What `fit` or `evaluate` puts into batches, as far as it is arrays.

    Attributes:
        x: The `x` that was given; only a dict of arrays can be looked at.
        batch_size: As in Keras.
        shuffle: Whether rows are drawn at random.
        validation_split: The share of the rows, the last ones, that is for validation.
        validation_batch_size: As in Keras.
    """

    x: Any
    batch_size: int | None = None
    shuffle: bool = False
    validation_split: float = 0.0
    validation_batch_size: int | None = None

    def cut(self, name: str, mask: str | None = None) -> tuple[int, int] | None:
        """How many queries come in several batches, and how many there are.

        Args:
            name: The entry of `x` with the ids.
            mask: The entry with the rows that count. Default: all do.

        Returns:
            `None` where `x` cannot be looked at.
        """
        ids = self.x.get(name) if isinstance(self.x, Mapping) else None
        if not hasattr(ids, "__array__"):
            return None
        ids = np.asarray(ids).reshape(-1)
        batch = self._batches(len(ids))
        if batch[-1:].sum() == 0:
            return 0, 0
        kept = None if mask is None else self.x.get(mask)
        if kept is not None:
            rows = np.asarray(kept).reshape(-1).astype(bool)
            ids, batch = ids[rows], batch[rows]
        queries, query = np.unique(ids, return_inverse=True)
        pieces = np.unique(np.stack([query, batch]), axis=1)[0]
        return int(np.sum(np.bincount(pieces) > 1)), len(queries)

    def _batches(self, rows: int) -> npt.NDArray[np.int_]:
        """The number of the batch of each row; drawn rows count as one batch each."""
        size = self.batch_size or KERAS_BATCH_SIZE
        trained = math.floor(rows * (1.0 - self.validation_split))  # as Keras cuts
        batch = np.arange(rows)
        batch[:trained] //= 1 if self.shuffle and trained > size else size
        begin = -(-trained // size) if not self.shuffle else trained
        size = self.validation_batch_size or size
        batch[trained:] = begin + (batch[trained:] - trained) // size
        return batch


def require_whole_queries(names: Iterable[tuple[str, str | None]], arrays: Arrays) -> None:
    """Refuses arrays whose batches cut queries of which a metric is the mean.

    Args:
        names: For each such metric the names of its query ids and of its mask, or `None`.
        arrays: What is put into batches.
    """
    for name, mask in names:
        cut, queries = arrays.cut(name, mask) or (0, 0)
        if cut:
            raise ValueError(
                "A query must come whole in one batch: a metric is a mean over queries. "
                f"Received: rows of {cut} of {queries} queries of `{name}` in two batches or "
                "more. Make batches with `data.query_batches`, or set `split_queries` of "
                "the metric to count_parts."
            )
