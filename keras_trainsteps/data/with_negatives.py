"""Batches in which each row comes with hard negatives of its own."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from keras_trainsteps.data.batch_order import BatchOrder
from keras_trainsteps.data.gathering import Pass
from keras_trainsteps.data.groups import is_count


class WithNegatives(BatchOrder):
    """Batches of rows, each followed by hard negatives of its own, drawn from candidates.

    A batch has `1 + number` rows for each anchor: the anchor, then `number` different ones of
    its candidates. So `keras.ops.reshape(outputs, (-1, 1 + number, dimensions))` has the anchor
    at place 0 and its negatives after it. Each anchor comes once a pass, each pass draws other
    negatives; a row can be a negative of several anchors.

    Args:
        candidates: For each row, the numbers of the rows that are its hard negatives, as mined
            with an earlier model: integers, shape `(rows, most candidates)`; -1 fills up. A row
            of nothing but -1 is no anchor: it comes only as a negative.
        number: Negatives of each anchor, at least 1.
        batch_size: Anchors of a batch at most. The last batch of a pass may have fewer.

    Raises:
        TypeError: For candidates that are no integers.
        ValueError: For numbers below 1, candidates that are no rows, a row that is its own
            negative or has one twice, an anchor with fewer candidates than `number`, and no
            anchor at all.

    Example:

    >>> order = WithNegatives([[1, 2], [0, 2], [-1, -1]], number=2, batch_size=2)
    >>> rows, ends = order.drawn(np.random.default_rng(1))
    >>> sorted(sorted(anchor.tolist()) for anchor in rows.reshape(-1, 3)), ends.tolist()
    ([[0, 1, 2], [0, 1, 2]], [0, 6])
    """

    def __init__(self, candidates: npt.ArrayLike, *, number: int, batch_size: int) -> None:
        for name, value in (("number", number), ("batch_size", batch_size)):
            if not is_count(value) or value < 1:
                raise ValueError(
                    f"`{name}` must be an integer of at least 1. Received: {value!r}."
                )
        given = np.asarray(candidates)
        if given.dtype.kind not in "iu":
            raise TypeError(
                "`candidates` must be integers, the numbers of rows, and -1 to fill up. "
                f"Received: dtype {given.dtype}."
            )
        if given.ndim != 2:
            raise ValueError(
                "`candidates` must have one line of rows for each row. Received: shape "
                f"{given.shape}."
            )
        given = given.astype("int64")
        _require_rows(given)
        counts = (given >= 0).sum(1)
        self._anchors = np.flatnonzero(counts)
        few = np.flatnonzero((counts > 0) & (counts < number))
        if len(few):
            raise ValueError(
                f"`candidates` must have `number={number}` rows or more for each anchor, or none "
                f"for a row that is not to be one. Received: {counts[few[0]]} for row {few[0]}, "
                f"and {len(few) - 1} other rows with too few."
            )
        if not len(self._anchors):
            raise ValueError("`candidates` must have some for a row. Received: -1 only.")
        self._candidates, self._number, self._batch_size = given, int(number), int(batch_size)
        self.rows, self.batches = len(given), -(-len(self._anchors) // self._batch_size)

    def drawn(self, generator: np.random.Generator) -> Pass:
        anchors = generator.permutation(self._anchors)
        candidates = self._candidates[anchors]
        keys = np.where(candidates < 0, 2.0, generator.random(candidates.shape))
        chosen = np.argsort(keys, axis=1)[:, : self._number]
        negatives = np.take_along_axis(candidates, chosen, axis=1)
        rows = np.concatenate([anchors[:, None], negatives], axis=1).reshape(-1)
        size = self._batch_size * (1 + self._number)
        return rows, np.append(np.arange(self.batches) * size, len(rows))


def _require_rows(candidates: npt.NDArray[np.int64]) -> None:
    """Refuses candidates that are no other rows, or the same twice."""
    own = np.arange(len(candidates))[:, None]
    ordered = np.sort(candidates, axis=1)
    twice = np.zeros(candidates.shape, bool)
    twice[:, 1:] = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)
    for broken, values, what in (
        ((candidates < -1) | (candidates >= len(candidates)), candidates, "which is no row"),
        (candidates == own, candidates, "the row itself"),
        (twice, ordered, "twice"),
    ):
        if broken.any():
            row, place = np.argwhere(broken)[0]
            raise ValueError(
                f"`candidates` must be different other rows, of 0 to {len(candidates) - 1}, or "
                f"-1 to fill up. Received: {values[row, place]} for row {row}, {what}."
            )
