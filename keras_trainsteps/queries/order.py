"""The order of rows by query and, within a query, from the highest key down."""

from __future__ import annotations

import tensorflow as tf

from keras_trainsteps import compat


def query_order(query: tf.Tensor, key: tf.Tensor, first: tf.Tensor | None = None) -> tf.Tensor:
    """The stable order of rows by ascending query, then by descending key; int32.

    Lists of one size, one after the other, are sorted each by itself. Else it takes one sort
    of all rows where a key fits into float32, or two.

    Args:
        query: Query index of each row, int32, shape `(rows,)`.
        key: Keys without NaN, float32 or float64, shape `(rows,)`. Zeros of both signs are equal.
        first: An order of all rows, which equal keys keep. Default: that of the rows.

    Example:

    >>> query_order(tf.constant([1, 0, 1]), tf.constant([0.1, 0.2, 0.3])).numpy().tolist()
    [1, 2, 0]
    """
    key = tf.where(key == 0, tf.zeros_like(key), key)
    if first is not None:
        query, key = tf.gather(query, first), tf.gather(key, first)
    if compat.in_xla():
        order = _of_any_lists(query, key)
    else:
        place, queries = tf.range(tf.size(query)), tf.maximum(tf.reduce_max(query) + 1, 1)
        size = tf.maximum(tf.size(query) // queries, 1)
        order = tf.cond(
            tf.reduce_all(query == place // size),
            lambda: _of_even_lists(key, size, place),
            lambda: _of_any_lists(query, key),
        )
    return order if first is None else tf.gather(first, order)


def _of_even_lists(key: tf.Tensor, size: tf.Tensor, place: tf.Tensor) -> tf.Tensor:
    """The order of lists of one size, one after the other, each sorted by itself."""
    _, columns = tf.math.top_k(tf.reshape(key, (-1, size)), size)
    return tf.reshape(columns, (-1,)) + place - place % size


def _of_any_lists(query: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
    narrow = tf.cast(key, tf.float32)
    if key.dtype == tf.float32:
        return _by_one_sort(query, narrow)
    if compat.in_xla():
        return _by_two_sorts(query, key)
    order: tf.Tensor = tf.cond(
        tf.reduce_all(tf.cast(narrow, key.dtype) == key),
        lambda: _by_one_sort(query, narrow),
        lambda: _by_two_sorts(query, key),
    )
    return order


def places(order: tf.Tensor) -> tf.Tensor:
    """For each row its place in `order`, an order of all rows."""
    rows = tf.size(order)
    # Six times as fast as `tf.scatter_nd` (TensorFlow 2.21).
    return tf.math.unsorted_segment_sum(tf.range(rows), order, rows)


def _by_one_sort(query: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
    # The bits of a float32, those of a negative one turned round, order as an int32.
    bits = tf.bitcast(key, tf.int32)
    turned = tf.bitwise.bitwise_and(tf.bitwise.right_shift(bits, 31), 2**31 - 1)
    bits = tf.cast(tf.bitwise.bitwise_xor(bits, turned), tf.int64)
    both = bits - tf.cast(query, tf.int64) * 2**32
    return tf.argsort(both, direction="DESCENDING", stable=True)


def _by_two_sorts(query: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
    order = tf.argsort(key, direction="DESCENDING", stable=True)
    return tf.gather(order, tf.argsort(tf.gather(query, order), stable=True))
