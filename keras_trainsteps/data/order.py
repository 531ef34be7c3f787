"""The order of the rows in `query_batches`, for what must give back that of the arrays."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

ROW_MASK = "query_batches_row_mask"
"""The entry of `x` that says which rows of a batch are real, where batches are filled up."""


class Padding(NamedTuple):
    """How far batches of `query_batches(..., pad=True)` are filled up.

    Attributes:
        sizes: The numbers of rows that they have: one, or two.
        rows: The rows of a pass that count.
        filled: The rows of a pass that do not. Of shuffled batches, as if they were not: where
            there are two sizes, the order decides how many batches take the second.
        waste: `filled / (rows + filled)`: the share of the network's work that is for nothing.
    """

    sizes: tuple[int, ...]
    rows: int
    filled: int
    waste: float


class WholeQueries(NamedTuple):
    """What batches of whole queries are made of.

    Attributes:
        in_order: Gives the same batches unshuffled.
        rows: The rows of the arrays, in the order in which these hold them; negative for what
            fills a batch up.
        is_order_of_arrays: Whether the batches themselves hold the rows as the arrays do.
        sizes: The numbers of rows that batches are filled up to; `None` where they are not.
        every_row_once: Whether they hold each row once, so that `rows` is an order of all.
    """

    in_order: Callable[[], tf.data.Dataset]
    rows: npt.NDArray[np.int_]
    is_order_of_arrays: bool
    sizes: tuple[int, ...] | None = None
    every_row_once: bool = True

    def restored(self, outputs: Any) -> Any:
        """Outputs of the batches `in_order`, with their rows in the order of the arrays."""
        real = np.flatnonzero(self.rows >= 0)
        place = real[np.argsort(self.rows[real])]

        def restore(output: Any) -> Any:
            if len(output.shape) == 0 or output.shape[0] != len(self.rows):
                raise ValueError(
                    "Outputs must have one entry per row, so that their order can be that of "
                    f"the rows. Received: shape {tuple(output.shape)} for {len(self.rows)} rows. "
                    "Call `predict_on_batch` on each batch."
                )
            if isinstance(output, np.ndarray):
                return output[place]
            return tf.gather(output, place)

        return keras.tree.map_structure(restore, outputs)


_made: weakref.WeakKeyDictionary[tf.data.Dataset, WholeQueries] = weakref.WeakKeyDictionary()


def remember(dataset: tf.data.Dataset, made_of: WholeQueries) -> tf.data.Dataset:
    """`dataset`, whose order can be asked for from now on."""
    _made[dataset] = made_of
    return dataset


def has_few_shapes(x: Any) -> bool:
    """Whether `x` is a dataset of `query_batches` whose batches are filled up."""
    found = _made.get(x) if isinstance(x, tf.data.Dataset) else None
    return found is not None and found.sizes is not None


def padding_of(batches: tf.data.Dataset) -> Padding:
    """How far the batches of `query_batches(..., pad=True)` are filled up.

    To choose a `batch_size` by: the larger it is beside the longest query, the smaller the
    waste.

    Args:
        batches: What `query_batches` returned.

    Returns:
        A `Padding`: sizes, rows, and the share of rows that is for nothing.

    Raises:
        ValueError: For what is no dataset of `query_batches(..., pad=True)`.

    Example:

    >>> from keras_trainsteps.data import query_batches
    >>> x = {"query_id": np.repeat(np.arange(40), 10)}
    >>> padding_of(query_batches(x, query_ids="query_id", batch_size=100, pad=True))
    Padding(sizes=(110,), rows=400, filled=40, waste=0.0909)
    """
    found = _made.get(batches) if isinstance(batches, tf.data.Dataset) else None
    if found is None or found.sizes is None:
        received = type(batches).__name__ if found is None else "batches without `pad=True`"
        raise ValueError(
            "`batches` must be what `query_batches(..., pad=True)` returned: what is made of it, "
            f"as by `map` or `take`, does not know how far it is filled up. Received: {received}."
        )
    rows = int((found.rows >= 0).sum())
    filled = len(found.rows) - rows
    return Padding(found.sizes, rows, filled, round(filled / len(found.rows), 4))


def order_for_predict(
    x: Any, sources: Iterable[tf.data.Dataset], steps: int | None
) -> WholeQueries | None:
    """How the rows of the outputs of `x` find back to the order of the arrays.

    Args:
        x: What `predict` is given.
        sources: The datasets that it is made of, itself among them.
        steps: As in `predict`.

    Returns:
        `None` for all but shuffled batches of whole queries.

    Raises:
        ValueError: For part of such batches, or what was made of them: nobody knows their
            order.
    """
    found = _made.get(x) if isinstance(x, tf.data.Dataset) else None
    if found is not None and not found.every_row_once:
        raise ValueError(
            "Batches must hold each row once in `predict`. Received: those of `ordered_batches` "
            "with an order that leaves rows out, or has them again. Pass the arrays."
        )
    if found is not None and steps is None:
        return None if found.is_order_of_arrays else found
    if all(_made[source].is_order_of_arrays for source in sources if source in _made):
        return None
    received = "`steps`" if found is not None else f"a {type(x).__name__} made of them"
    raise ValueError(
        "Rows must keep their order in `predict`, and `query_batches` puts them by query. "
        f"Received: its batches with {received}. Pass what `query_batches` returned, without "
        "`steps`: the outputs are then in the order of the arrays. Or pass the dict of arrays."
    )
