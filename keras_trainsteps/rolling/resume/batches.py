"""Batches whose i-th element depends on nothing but a seed and i."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

# What keeps queries whole is that of `query_batches`.
from keras_trainsteps.data.arrays import as_arrays, checked_ids
from keras_trainsteps.data.batch_order import BatchOrder, ByQuery
from keras_trainsteps.data.filling import filled, fixed_sizes, with_row_mask
from keras_trainsteps.data.gathering import Pass, gathered_batches
from keras_trainsteps.data.ordered import require_order
from keras_trainsteps.data.rows import Queries, queries_of

_BATCH_SIZE = 1024
_HASHED_AT_ONCE = 2**20
"""Bytes: what is not contiguous must be copied to be hashed."""

Tensors = npt.ArrayLike | Mapping[str, npt.ArrayLike] | tuple[npt.ArrayLike, ...]


class ResumableBatches:
    """An endless stream of batches that can start anywhere: see `resumable_batches`.

    Attributes:
        steps_per_epoch: Batches of one pass over the data.
        fingerprint: SHA-256 of data, seed and batch size: what a resumed job must share.

    Example:

    >>> batches = resumable_batches(np.arange(6), batch_size=2, seed=1)
    >>> batches.steps_per_epoch
    3
    >>> sorted(np.concatenate([batches.rows(step) for step in (3, 4, 5)]).tolist())
    [0, 1, 2, 3, 4, 5]
    """

    def __init__(
        self,
        data: tuple[Any, ...],
        order: BatchOrder,
        seed: int,
        fingerprint: str,
        sizes: tuple[int, ...] | None = None,
    ) -> None:
        self._data, self._order, self._seed, self._sizes = data, order, seed, sizes
        self.steps_per_epoch, self.fingerprint = order.batches, fingerprint
        self._last: tuple[int, Pass] | None = None

    def from_step(self, step: int) -> tf.data.Dataset:
        """The stream from its `step`-th element on, without an end.

        Without a job: `model.fit(batches.from_step(0), shuffle=False,
        steps_per_epoch=batches.steps_per_epoch)`.

        Args:
            step: From 0, over all passes.
        """
        return gathered_batches(
            self._data,
            self._pass_of,
            self.steps_per_epoch,
            first=step,
            endless=True,
            sizes=self._sizes,
        )

    def rows(self, step: int) -> npt.NDArray[np.int64]:
        """The rows of the `step`-th batch: their places in the data, of shape (rows,).

        Args:
            step: From 0, over all passes.
        """
        number, place = divmod(step, self.steps_per_epoch)
        if self._last is None or self._last[0] != number:
            self._last = number, self._pass_of(number)
        rows, ends = self._last[1]
        found = rows[ends[place] : ends[place + 1]]
        return found if self._sizes is None else found[found >= 0]

    def _pass_of(self, number: int) -> Pass:
        passed = self._order.drawn(np.random.default_rng([self._seed, number]))
        return passed if self._sizes is None else filled(passed, self._sizes)


def resumable_batches(
    x: Tensors,
    y: Tensors | None = None,
    sample_weight: Tensors | None = None,
    *,
    query_ids: str | None = None,
    batch_size: int = _BATCH_SIZE,
    seed: int,
    pad: bool = False,
    order: BatchOrder | None = None,
) -> ResumableBatches:
    """Shuffled batches for a job that can be killed and resumed: see `ResumableJob`.

    The i-th batch depends on the seed and i alone, so that a resumed job goes on with the
    very batch it would have had. Every pass over the data draws an order of its own. Arrays
    are not copied unless they must be cast: leave them as they are while the job runs.

    Args:
        x: An array, or a dict, list or tuple of arrays, each of shape (rows, ...).
        y: Targets in the same forms. Default: none.
        sample_weight: Weights in the same forms; they need `y`. Default: none.
        query_ids: The name of the entry of `x` with the query ids, of shape (rows,). Then
            batches hold whole queries, as by `query_batches`. Default: rows are drawn one
            by one.
        batch_size: Rows per batch; with queries, on average. Default: 1024.
        seed: An integer, not negative. It must be given: without one nothing can be
            repeated.
        pad: Whether batches are filled up to one number of rows, or two, as by
            `query_batches`. Default: `False`.
        order: Batches by class, by length or with hard negatives, as by `data.ordered_batches`,
            instead of `query_ids`, `batch_size` and `pad`. Default: none.

    Returns:
        The batches, for `ResumableJob.fit`.

    Raises:
        TypeError: For an `order` that is none.
        ValueError: For a bad `batch_size` or `seed`, missing ids, arrays of different
            lengths, an `order` of another number of rows or beside what it replaces.

    Example:

    >>> batches = resumable_batches(np.arange(5), batch_size=2, seed=1)
    >>> batches.steps_per_epoch
    3
    >>> [len(batches.rows(step)) for step in range(3)]
    [2, 1, 2]
    """
    if not isinstance(batch_size, int | np.integer) or batch_size < 1:
        raise ValueError(
            f"`batch_size` must be an integer of at least 1. Received: {batch_size!r}."
        )
    if not isinstance(seed, int | np.integer) or seed < 0:
        raise ValueError(
            f"`seed` must be an integer, not negative. Received: {seed!r}. Use a fixed "
            "number, e.g. 7: the resumed job must have the same."
        )
    if query_ids is not None and (not isinstance(x, Mapping) or query_ids not in x):
        raise ValueError(
            f"`query_ids` must name an entry of the dict `x`. Received: {query_ids!r}."
        )
    if y is None and sample_weight is not None:
        raise ValueError("`sample_weight` weighs targets. Received: weights without `y`.")
    data = as_arrays(x, y, sample_weight)
    rows = len(keras.tree.flatten(data)[0])
    seed, batch_size = int(seed), int(batch_size)
    if order is not None:
        if query_ids is not None or pad or batch_size != _BATCH_SIZE:
            raise ValueError(
                "`order` must come without `query_ids`, `batch_size` and `pad`: it says itself "
                "what a batch is. Received: `order` and one of them."
            )
        require_order(order, rows)
        first_pass = order.drawn(np.random.default_rng([seed, 0]))
        kind = f"{type(order).__name__}|{seed}"
        return ResumableBatches(data, order, seed, _fingerprint((data, first_pass), kind))
    if query_ids is None:
        queries = Queries(np.arange(rows), np.ones(rows, int))
    else:
        queries = queries_of(checked_ids(data[0][query_ids], f"x[{query_ids!r}]"))
    kind = f"{query_ids}|{batch_size}|{seed}" + ("|pad" if pad else "")
    fingerprint = _fingerprint(data, kind)
    by_query = ByQuery(queries, batch_size)
    if not pad:
        return ResumableBatches(data, by_query, seed, fingerprint)
    sizes = fixed_sizes(queries, batch_size, shuffle=True)
    return ResumableBatches(with_row_mask(data, rows), by_query, seed, fingerprint, sizes)


def _fingerprint(data: Any, kind: str) -> str:
    digest = hashlib.sha256(kind.encode())
    for path, array in keras.tree.flatten_with_path(data):
        digest.update(f"{path}{array.shape}{array.dtype}".encode())
        rows = max(1, _HASHED_AT_ONCE * len(array) // max(array.nbytes, 1))
        for begin in range(0, len(array), rows):
            part = array[begin : begin + rows]
            if array.dtype == object:
                text = "\0".join(map(str, part.reshape(-1)))
                digest.update((text if begin == 0 else "\0" + text).encode())
            else:
                digest.update(np.ascontiguousarray(part).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
