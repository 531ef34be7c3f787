"""Differentiable ranks within queries, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from keras_trainsteps import compat
from keras_trainsteps.losses.ranking.dense import DenseLists, dense_lists
from keras_trainsteps.losses.ranking.segments import last_row_of_run, take
from keras_trainsteps.queries import places
from keras_trainsteps.validation import as_float

BLOCK = 128  # rows that are compared with their queries' rows at a time
_PAIRS = 2**20  # of all lists, filled up: so many are compared at once

Kernel = Callable[..., tf.Tensor]


def soft_ranks(
    scores: tf.Tensor,
    query: tf.Tensor,
    temperature: float,
    *,
    list_size: tf.Tensor | None = None,
) -> tf.Tensor:
    """`1 + sum_{j != i} sigmoid((s_j - s_i) / temperature)` over the rows j of i's query.

    Time is `O(rows * (longest query + BLOCK))` and memory `O(BLOCK * longest query)`, or that
    of `_PAIRS` pairs, forward and backward: the gradient sums the blocks again. Under XLA, where
    a block cannot be cut to its queries, it is `O(rows ** 2)` time and `O(BLOCK * rows)` memory,
    but for padded lists.

    Args:
        scores: Float tensor, shape `(rows,)`.
        query: Integer tensor, shape `(rows,)`, in any order; below 0 for a row of no query.
        temperature: Width of the sigmoid, above 0.
        list_size: The length of padded lists, which the rows fill one after the other.
    """
    width = as_float("temperature", temperature, scores.dtype)
    if compat.in_xla() and list_size is not None:

        def in_lists(values: tf.Tensor) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
            return [_ranks_in_lists(values, query, width, list_size)], [query, width, list_size]

        return _OF_LISTS(in_lists, scores)[0]
    order = tf.argsort(query, stable=True)
    place = places(order)
    if not compat.in_xla():  # rows of no query come first, and need no rank
        left_out = tf.reduce_sum(tf.cast(query < 0, tf.int32))
        order, place = order[left_out:], tf.maximum(place - left_out + 1, 0)
    query = tf.gather(query, order)

    def compute(ordered: tf.Tensor) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        return [_ranks(ordered, query, width)], [query, width]

    ranks = _OF_RANKS(compute, take(scores, order))[0]
    if not compat.in_xla():
        ranks = tf.concat([tf.ones((1,), ranks.dtype), ranks], 0)
    return take(ranks, place)


def _rank_kernel(width: tf.Tensor) -> Kernel:
    def rank(s_i: tf.Tensor, s_j: tf.Tensor) -> tf.Tensor:
        return tf.sigmoid((s_j - s_i) / width)

    return rank


def _slope_kernel(width: tf.Tensor) -> Kernel:
    def slope(s_i: tf.Tensor, u_i: tf.Tensor, s_j: tf.Tensor, u_j: tf.Tensor) -> tf.Tensor:
        # The slope of the sigmoid is even: row i moves rank i down and rank j up.
        half = tf.sigmoid(-tf.abs(s_j - s_i) / width)
        return (u_j - u_i) * half * (1 - half) / width

    return slope


@compat.traced_once
def _ranks(ordered: tf.Tensor, query: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    # The pair (i, i) adds a half.
    return 0.5 + _sum_by_query(_rank_kernel(width), query, ordered)


@compat.traced_once
def _slopes(
    upstream: tf.Tensor, ordered: tf.Tensor, query: tf.Tensor, width: tf.Tensor
) -> tf.Tensor:
    return _sum_by_query(_slope_kernel(width), query, ordered, upstream)


def _ranks_in_lists(
    scores: tf.Tensor, query: tf.Tensor, width: tf.Tensor, list_size: tf.Tensor
) -> tf.Tensor:
    return 0.5 + _sum_by_list(_rank_kernel(width), query, list_size, scores)


def _slopes_in_lists(
    upstream: tf.Tensor,
    scores: tf.Tensor,
    query: tf.Tensor,
    width: tf.Tensor,
    list_size: tf.Tensor,
) -> tf.Tensor:
    return _sum_by_list(_slope_kernel(width), query, list_size, scores, upstream)


_OF_RANKS = compat.HandGradient("soft_ranks", _slopes)
_OF_LISTS = compat.HandGradient("soft_ranks.in_lists", _slopes_in_lists)


def _sum_by_list(
    kernel: Kernel, query: tf.Tensor, list_size: tf.Tensor, *columns: tf.Tensor
) -> tf.Tensor:
    """`_sum_by_query` of padded lists; XLA makes one loop of it, which holds no pairs."""
    shape = tf.stack([-1, list_size])
    lists = [tf.reshape(column, shape) for column in columns]
    both = tf.reshape(query >= 0, shape)
    values = kernel(*(one[:, :, None] for one in lists), *(one[:, None, :] for one in lists))
    values = tf.where(both[:, :, None] & both[:, None, :], values, tf.zeros_like(values))
    return tf.reshape(tf.reduce_sum(values, 2), (-1,))


def _sum_by_query(kernel: Kernel, query: tf.Tensor, *columns: tf.Tensor) -> tf.Tensor:
    """`sum_j kernel(columns[i], columns[j])` over the rows j of the query of each row i."""
    if compat.in_xla():
        return _static_blocks(kernel, query, columns)
    lists = dense_lists(query)
    sums: tf.Tensor = tf.cond(
        lists.cells(2) <= _PAIRS,
        lambda: _in_lists(kernel, lists, columns),
        lambda: _in_blocks(kernel, query, columns),
    )
    return sums


def _in_lists(kernel: Kernel, lists: DenseLists, columns: tuple[tf.Tensor, ...]) -> tf.Tensor:
    spread = [lists.spread(column) for column in columns]
    values = kernel(*(one[:, :, None] for one in spread), *(one[:, None, :] for one in spread))
    values = tf.where(lists.filled[:, None, :], values, tf.zeros_like(values))
    return lists.collect(tf.reduce_sum(values, 2))


def _in_blocks(kernel: Kernel, query: tf.Tensor, columns: tuple[tf.Tensor, ...]) -> tf.Tensor:
    rows = tf.shape(query)[0]
    end = last_row_of_run(query) + 1
    first = tf.reverse(rows - 1 - last_row_of_run(tf.reverse(query, [0])), [0])
    blocks = (rows + BLOCK - 1) // BLOCK

    def block(index: tf.Tensor, sums: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
        begin = index * BLOCK
        stop = tf.minimum(begin + BLOCK, rows)
        near = slice(first[begin], end[stop - 1])
        same = query[begin:stop, None] == query[None, near]
        values = kernel(
            *(column[begin:stop, None] for column in columns),
            *(column[None, near] for column in columns),
        )
        values = tf.where(same, values, tf.zeros_like(values))
        return index + 1, sums.write(index, tf.reduce_sum(values, 1))

    sums = tf.TensorArray(
        columns[0].dtype, size=blocks + 1, infer_shape=False, element_shape=(None,)
    )
    # An empty batch has no block; there must be one to put together.
    sums = sums.write(blocks, tf.zeros((0,), columns[0].dtype))
    _, sums = tf.while_loop(
        lambda index, sums: index < blocks, block, (0, sums), parallel_iterations=1
    )
    return sums.concat()


def _static_blocks(kernel: Kernel, query: tf.Tensor, columns: tuple[tf.Tensor, ...]) -> tf.Tensor:
    rows = tf.shape(query)[0]  # which XLA knows, though tracing need not
    blocks = -(-rows // BLOCK)
    padding = [[0, blocks * BLOCK - rows]]

    def cut(value: tf.Tensor) -> tf.Tensor:
        return tf.reshape(tf.pad(value, padding), (blocks, BLOCK, 1))

    def block(cuts: tuple[tf.Tensor, ...]) -> tf.Tensor:
        values = kernel(*cuts[1:], *(column[None, :] for column in columns))
        values = tf.where(cuts[0] == query[None, :], values, tf.zeros_like(values))
        return tf.reduce_sum(values, 1)

    sums = tf.map_fn(
        block,
        (cut(query), *(cut(column) for column in columns)),
        fn_output_signature=tf.TensorSpec((BLOCK,), columns[0].dtype),
    )
    return tf.reshape(sums, (-1,))[:rows]
