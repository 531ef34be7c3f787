"""Batches of rows of arrays, gathered within `tf.data`, and no array copied."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, TypeAlias

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from keras_trainsteps.data.order import ROW_MASK
from keras_trainsteps.data.rows import as_element, spec_of

Pass: TypeAlias = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]
"""The rows of one pass in their order, and where each batch begins, then where the last ends."""


def gathered_batches(
    data: tuple[Any, ...],
    pass_of: Callable[[int], Pass],
    batches: int,
    *,
    first: int = 0,
    endless: bool = False,
    sizes: tuple[int, ...] | None = None,
) -> tf.data.Dataset:
    """A dataset of batches of rows of arrays.

    Order and cuts of a pass are computed at once in NumPy; several batches are gathered at
    a time, in threads of `tf.data`. The arrays live as long as the dataset.

    Args:
        data: Arrays of one entry per row, in what `tf.data` takes for a structure.
        pass_of: Gives the rows of a pass from its number, which counts from 0.
        batches: Batches of a pass.
        first: The batch to begin with, over all passes.
        endless: Whether pass follows pass. Default: one.
        sizes: The rows that batches are filled up to; default: they are not. A row `~i` of
            `pass_of` stands for a copy of row `i`, and the entry `ROW_MASK` of `x` is then
            whether rows are real ones.
    """
    source = _Source(data, pass_of, fills=sizes is not None)
    rows = sizes[0] if sizes is not None and len(sizes) == 1 else None
    specs = [spec_of(array, rows) for array in source.arrays]

    def of_pass(number: tf.Tensor) -> tf.data.Dataset:
        rows, ends = tf.numpy_function(source.weak("pass_of"), [number], (tf.int64, tf.int64))

        def batch(place: tf.Tensor) -> Any:
            types = [spec.dtype for spec in specs]
            gather = source.weak("gather")
            parts = tf.numpy_function(gather, [rows, ends, place], types, stateful=False)
            for part, spec in zip(parts, specs, strict=True):
                part.set_shape(spec.shape)
            return as_element(keras.tree.pack_sequence_as(data, parts))

        places = tf.data.Dataset.range(tf.maximum(first - number * batches, 0), batches)
        return places.map(batch, num_parallel_calls=tf.data.AUTOTUNE)

    begin = first // batches
    passes = (
        tf.data.Dataset.counter(begin) if endless else tf.data.Dataset.range(begin, begin + 1)
    )
    return passes.flat_map(tf.autograph.experimental.do_not_convert(of_pass)).prefetch(2)


class _Source:
    """The arrays, and what is asked of them. TensorFlow keeps functions for ever: no arrays."""

    def __init__(
        self, data: tuple[Any, ...], pass_of: Callable[[int], Pass], *, fills: bool
    ) -> None:
        self.arrays, self.pass_of = keras.tree.flatten(data), pass_of
        self.row_mask = data[0][ROW_MASK] if fills else None

    def gather(self, rows: Any, ends: Any, place: int) -> list[npt.NDArray[Any]]:
        """The rows of a batch, of each array."""
        index = rows[ends[place] : ends[place + 1]]
        if self.row_mask is None:
            return [_rows_of(array, index) for array in self.arrays]
        real = index >= 0
        index = np.where(real, index, ~index)
        return [
            real if array is self.row_mask else _rows_of(array, index) for array in self.arrays
        ]

    def weak(self, method: str) -> Callable[..., Any]:
        """A method, by a function that does not keep the arrays."""
        source = weakref.ref(self)
        return lambda *args: getattr(source(), method)(*args)


def _rows_of(array: npt.NDArray[Any], index: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    if array.dtype.kind in "OSU":
        return array[index].astype(object)
    # `take` is faster, but copies what is not contiguous as a whole.
    return array.take(index, axis=0) if array.flags.c_contiguous else array[index]
