"""Batches whose i-th element depends on nothing but a seed and i."""

from __future__ import annotations

import hashlib
import itertools
import operator
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

# What keeps queries whole is that of `query_batches`.
from keras_trainsteps.data.arrays import as_arrays, checked_ids
from keras_trainsteps.data.rows import as_element, cut_points, rows_of_queries, spec_of

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
        self, data: tuple[Any, ...], query_ids: str | None, batch_size: int, seed: int
    ) -> None:
        self._data, self._seed, self._batch_size = data, seed, batch_size
        rows = len(keras.tree.flatten(data)[0])
        if query_ids is None:
            self._groups: list[npt.NDArray[np.int_]] | None = None
            self._sizes = np.ones(rows, int)
        else:
            ids = checked_ids(data[0][query_ids], f"x[{query_ids!r}]")
            self._groups = rows_of_queries(ids)
            self._sizes = np.array([len(group) for group in self._groups])
        self.steps_per_epoch = len(cut_points(self._sizes, batch_size)) + 1
        self.fingerprint = _fingerprint(data, query_ids, batch_size, seed)
        self._pass: tuple[int, list[npt.NDArray[np.int_]]] = (-1, [])

    def from_step(self, step: int) -> tf.data.Dataset:
        """The stream from its `step`-th element on, without an end.

        Without a job: `model.fit(batches.from_step(0), shuffle=False,
        steps_per_epoch=batches.steps_per_epoch)`.

        Args:
            step: From 0, over all passes.
        """

        def elements() -> Iterator[Any]:
            for now in itertools.count(step):
                rows = self.rows(now)
                yield as_element(keras.tree.map_structure(operator.itemgetter(rows), self._data))

        spec = as_element(keras.tree.map_structure(spec_of, self._data))
        return tf.data.Dataset.from_generator(elements, output_signature=spec).prefetch(2)

    def rows(self, step: int) -> npt.NDArray[np.int_]:
        """The rows of the `step`-th batch: their places in the data, of shape (rows,).

        Args:
            step: From 0, over all passes.
        """
        number, place = divmod(step, self.steps_per_epoch)
        current, batches = self._pass
        if current != number:
            order = np.random.default_rng([self._seed, number]).permutation(len(self._sizes))
            cuts = cut_points(self._sizes[order], self._batch_size)
            batches = np.split(order, cuts)
            self._pass = (number, batches)
        groups = batches[place]
        if self._groups is None:
            return groups
        return np.concatenate([self._groups[group] for group in groups])


def resumable_batches(
    x: Tensors,
    y: Tensors | None = None,
    sample_weight: Tensors | None = None,
    *,
    query_ids: str | None = None,
    batch_size: int = 1024,
    seed: int,
) -> ResumableBatches:
    """Shuffled batches for a job that can be killed and resumed: see `ResumableJob`.

    The i-th batch depends on the seed and i alone, so that a resumed job goes on with the
    very batch it would have had. Every pass over the data draws an order of its own.

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

    Returns:
        The batches, for `ResumableJob.fit`.

    Raises:
        ValueError: For a bad `batch_size` or `seed`, missing ids, arrays of different
            lengths.

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
    return ResumableBatches(data, query_ids, int(batch_size), int(seed))


def _fingerprint(data: Any, query_ids: str | None, batch_size: int, seed: int) -> str:
    digest = hashlib.sha256(f"{query_ids}|{batch_size}|{seed}".encode())
    for path, array in keras.tree.flatten_with_path(data):
        digest.update(f"{path}{array.shape}{array.dtype}".encode())
        if array.dtype == object:
            digest.update("\0".join(map(str, array.reshape(-1))).encode())
        else:
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
