"""Batches of rows in an order that is not by query."""

from __future__ import annotations

import functools
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from keras_trainsteps.data.arrays import Arrays, as_arrays
from keras_trainsteps.data.gathering import gathered_batches
from keras_trainsteps.data.order import WholeQueries, remember
from keras_trainsteps.data.orders import RowOrder
from keras_trainsteps.data.rows import Pass


def ordered_batches(
    x: Arrays,
    y: Arrays | None = None,
    sample_weight: Arrays | None = None,
    *,
    order: RowOrder,
    shuffle: bool = True,
    seed: int | None = None,
) -> tf.data.Dataset:
    """A dataset whose batches are made by `ByClass` or `ByLength`, for `fit` and `evaluate`.

    `LossAwareModel.predict` gives its outputs in the order of the arrays with `ByLength`; batches
    `ByClass` leave rows out, and are refused there. For jobs that may be killed, give the order
    to `rolling.resumable_batches`.

    Args:
        x: An array, or a dict, list or tuple of arrays, of one entry per row.
        y: Targets in the same forms.
        sample_weight: Weights in the same forms.
        order: A `ByClass` or `ByLength` of the same rows; or an object with what they have.
        shuffle: Whether each epoch draws an order of its own. If not, all have the same.
        seed: Makes the orders of the epochs repeatable. Default: they are not.

    Returns:
        A `tf.data.Dataset` of `x`, `(x, y)` or `(x, y, sample_weight)`, as by `query_batches`.

    Raises:
        TypeError: For what is no dense array of numbers or texts.
        ValueError: For arrays of different lengths, an order of another number of rows, weights
            without targets.

    Example:

    >>> from keras_trainsteps.data import ByClass
    >>> labels = np.array([0, 1, 0, 1, 2, 2])
    >>> order = ByClass(labels, classes=3, rows=2)
    >>> batches = ordered_batches(np.eye(6), labels, order=order, seed=0)
    >>> [sorted(y.numpy().tolist()) for x, y in batches]
    [[0, 0, 1, 1, 2, 2]]
    """
    if y is None and sample_weight is not None:
        raise ValueError(
            "`sample_weight` weighs the loss of targets. Received: weights without `y`. Pass "
            "the weights as an entry of `x`."
        )
    data = as_arrays(x, y, sample_weight)
    require_rows(order, data)
    epoch_seeds = np.random.SeedSequence(seed)

    def pass_of(number: int, shuffle: bool = shuffle) -> Pass:
        generator = np.random.default_rng(epoch_seeds.spawn(1)[0]) if shuffle else None
        return order.passed(generator)

    def dataset(pass_of: Callable[[int], Pass]) -> tf.data.Dataset:
        made = gathered_batches(data, pass_of, order.batches, batch_rows=order.batch_rows)
        return made.apply(tf.data.experimental.assert_cardinality(order.batches))

    rows, _ = order.passed(None)
    in_place = not shuffle and order.is_once and bool((rows == np.arange(len(rows))).all())
    in_order = functools.partial(dataset, functools.partial(pass_of, shuffle=False))
    made_of = WholeQueries(in_order, rows, in_place, is_once=order.is_once)
    return remember(dataset(pass_of), made_of)


def require_rows(order: RowOrder, data: tuple[Arrays, ...]) -> None:
    """Refuses an order of other rows than those of the arrays."""
    rows = len(keras.tree.flatten(data)[0])
    if rows != order.rows:
        raise ValueError(
            "`order` must be of the rows of the arrays. Received: one of "
            f"{order.rows} rows for arrays of {rows}."
        )
