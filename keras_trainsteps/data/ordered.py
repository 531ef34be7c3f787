"""Batches of rows in an order of the user's choice."""

from __future__ import annotations

import functools
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from keras_trainsteps.data.arrays import Arrays, as_arrays
from keras_trainsteps.data.batch_order import BatchOrder
from keras_trainsteps.data.gathering import Pass, gathered_batches
from keras_trainsteps.data.order import WholeQueries, remember


def ordered_batches(
    x: Arrays,
    y: Arrays | None = None,
    sample_weight: Arrays | None = None,
    *,
    order: BatchOrder,
    seed: int | None = None,
) -> tf.data.Dataset:
    """A dataset of batches by class, by length or with hard negatives, for `fit`.

    Every epoch has an order of its own and the same number of batches. For a job that can be
    killed and resumed, pass the same `order` to `rolling.resumable_batches`.

    Args:
        x: An array, or a dict, list or tuple of arrays, of one entry per row.
        y: Targets in the same forms. Default: none.
        sample_weight: Weights in the same forms; they need `y`. Default: none.
        order: `data.ByClass`, `data.ByLength`, `data.WithNegatives`, or a `data.BatchOrder` of
            your own, made of as many rows.
        seed: Makes the orders of the epochs repeatable. Default: they are not.

    Returns:
        A `tf.data.Dataset` of `x`, `(x, y)` or `(x, y, sample_weight)`. `LossAwareModel.predict`
        gives its outputs in the order of the arrays where each row comes once (`ByLength`), and
        refuses the others.

    Raises:
        TypeError: For an `order` that is none, and what is no dense array of numbers or texts.
        ValueError: For arrays of different lengths, or of others than the order is for.

    Example:

    >>> from keras_trainsteps.data import ByClass
    >>> label = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2])
    >>> order = ByClass(label, classes=2, rows_per_class=2)
    >>> batches = ordered_batches(np.eye(12), label, order=order, seed=1)
    >>> [len(set(labels.numpy().tolist())) for _, labels in batches]
    [2, 2, 2]
    """
    if y is None and sample_weight is not None:
        raise ValueError(
            "`sample_weight` weighs the loss of targets. Received: weights without `y`. Pass "
            "the weights as an entry of `x`."
        )
    data = as_arrays(x, y, sample_weight)
    require_order(order, len(keras.tree.flatten(data)[0]))
    epoch_seeds = np.random.SeedSequence(seed)

    def pass_of(number: int) -> Pass:
        return order.drawn(np.random.default_rng(epoch_seeds.spawn(1)[0]))

    def first_pass(number: int) -> Pass:
        return order.drawn(np.random.default_rng(0))

    def dataset(pass_of: Callable[[int], Pass]) -> tf.data.Dataset:
        made = gathered_batches(data, pass_of, order.batches)
        return made.apply(tf.data.experimental.assert_cardinality(order.batches))

    rows, _ = first_pass(0)
    in_order = functools.partial(dataset, first_pass)
    made_of = WholeQueries(in_order, rows, False, every_row_once=order.every_row_once)
    return remember(dataset(pass_of), made_of)


def require_order(order: BatchOrder, rows: int) -> None:
    """Refuses what is no order, or one for another number of rows."""
    if not isinstance(order, BatchOrder):
        raise TypeError(
            "`order` must be a `BatchOrder`, as `data.ByClass(labels, classes=8, "
            f"rows_per_class=4)`. Received: {order!r}."
        )
    if order.rows != rows:
        raise ValueError(
            f"`order` must be made of as many rows as the arrays have. Received: one of "
            f"{order.rows} rows for {rows}."
        )
