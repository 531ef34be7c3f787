"""Pair sums pair by pair with static shapes.

Rows lie in order, those of a group together. `_SIDE` rows at a time are paired with themselves
and with the next `_SIDE` rows, then with those after them, and so on to where the last of their
groups ends; `_TILES` such blocks of rows go side by side. So each two rows meet once, work
follows the sum of squared group sizes, and memory is linear in the rows.

What two rows give does not depend on which of them comes first: the one with the higher label
is taken for the first of the pair, and `d = s_i - s_j` has that sign. A difference of float32
scores rounded to float32 would put a small term off (`tile.py`). So differences are float64;
the exponential of kinds that have a term of `exp(-|d|)` is that of the rounded difference,
mended by what was rounded off.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from .exact import Sums
from .rules import Fields, PairRows, PairRule

_SIDE = 32
_TILES = 16  # at most: 128 KB a float64 tensor, which stays in the cache of a core


def in_tiles(
    rule: PairRule, rows: PairRows, group: tf.Tensor, num_groups: tf.Tensor | int
) -> Sums:
    """Terms, counts and slope of each row, float64 `(rows,)`.

    Args:
        rule: What is summed.
        rows: The rows.
        group: The group of each row, int32 `(rows,)`; -1 for none.
        num_groups: A number above every group.
    """
    number = size_of(rows.score)
    blocks, tiles = -(-number // _SIDE), _TILES
    if isinstance(blocks, int):
        blocks = max(blocks, 1)
        tiles = min(tiles, blocks)
    else:
        blocks = tf.maximum(blocks, 1)
    steps = -(-blocks // tiles)
    size = steps * tiles * _SIDE
    shape = (steps, tiles, _SIDE)
    packed = tf.pad(rows.pack(), [[0, size - number], [0, 0]])
    end = tf.reshape(
        tf.pad(last_of(group, num_groups), [[0, size - number]], constant_values=-1), shape
    )
    group = tf.pad(group, [[0, size - number]], constant_values=-1)
    begin = tf.reshape(tf.range(0, size, _SIDE), shape[:2])
    columns = (tf.reduce_max(tf.reduce_max(end, 2) - begin, 1) + _SIDE) // _SIDE
    side = tf.range(_SIDE)

    def add_tiles(
        step: tf.Tensor, column: tf.Tensor, sums: tf.Tensor, slope: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        at_i = (step * tiles + tf.range(tiles)[:, None]) * _SIDE + side
        at_j = at_i + column * _SIDE
        index = tf.minimum(at_j, size - 1)
        group_i, group_j = tf.gather(group, at_i), tf.gather(group, index)
        group_j = tf.where(at_j < size, group_j, -1)
        met = (group_i[:, :, None] == group_j[:, None, :]) & (group_i >= 0)[:, :, None]
        met &= at_i[:, :, None] < at_j[:, None, :]
        i, j = (rows.unpack(tf.gather(packed, at)) for at in (at_i, index))
        pairs = _pair_sums(rule, i, j, met)
        sums = tf.tensor_scatter_nd_add(sums, [[step]], pairs.of_first[None])
        slope = tf.tensor_scatter_nd_add(slope, index[..., None], -pairs.slope_j)
        done = column + 1 >= tf.gather(columns, step)
        return tf.where(done, step + 1, step), tf.where(done, 0, column + 1), sums, slope

    sums = tf.zeros((*shape, 3), tf.float64)
    begin_at = tf.where(tf.reduce_any(columns > 0), 0, steps)  # often nothing is left to do
    start = (begin_at, tf.constant(0), sums, tf.zeros((size,), tf.float64))
    *_, sums, slope = tf.while_loop(lambda step, *_: step < steps, add_tiles, start)
    terms, counts, slope_i = tf.unstack(tf.reshape(sums, (-1, 3))[:number], axis=1)
    return terms, counts, slope_i + slope[:number]


def of_lists(rule: PairRule, rows: PairRows, query: tf.Tensor, size: int) -> Sums:
    """`in_tiles` for rows that are lists of one size; -1 is the query of what is no row."""
    packed = rows.pack()
    lists = rows.unpack(tf.reshape(packed, (-1, size, packed.shape[1])))
    some = tf.reshape(query >= 0, (-1, size))
    place = tf.range(size)
    met = some[:, :, None] & some[:, None, :] & (place[:, None] < place)
    sums = _pair_sums(rule, lists, lists, met)
    terms, counts, slope = tf.unstack(sums.of_first, axis=-1)
    return tuple(tf.reshape(x, (-1,)) for x in (terms, counts, slope - sums.slope_j))


class _PairSums(NamedTuple):
    of_first: tf.Tensor  # terms, counts and slopes by the rows i, `(..., i, 3)`
    slope_j: tf.Tensor  # `(..., j)`


def _pair_sums(rule: PairRule, i: PairRows, j: PairRows, met: tf.Tensor) -> _PairSums:
    """The sums over the pairs of rows `i` with rows `j` that are `met`."""
    label_i, label_j = _column(i.label), _row(j.label)
    i_first, j_first = label_i > label_j, label_i < label_j
    if rule.ties:
        i_first |= tf.equal(label_i, label_j)
    met &= i_first | j_first
    d = _column(i.score) - _row(j.score)
    d = tf.where(i_first, d, -d)
    of_decay = rule.kernel.preference_of_decay
    if of_decay is not None and rule.precision == tf.float32 and not rule.ties:
        near = tf.cast(d, tf.float32)
        rest = tf.cast(tf.abs(d) - tf.abs(tf.cast(near, tf.float64)), tf.float32)
        term, slope = of_decay(near, tf.exp(-tf.abs(near)) * (1.0 - rest))
    else:
        term, slope = rule.term(d, tf.abs(label_i - label_j))
    count: tf.Tensor = tf.cast(met, term.dtype)
    if rule.ties:
        count *= 2
    if i.weight is not None and j.weight is not None:
        weight_i, weight_j = _column(i.weight), _row(j.weight)
        weight = weight_i * weight_j
        if rule.by_preferred:
            weight = tf.where(i_first, weight_i, weight_j)
            if rule.ties:
                even = 0.5 * (weight_i + weight_j)
                weight = tf.where(tf.equal(label_i, label_j), even, weight)
        count = tf.cast(count, tf.float64) * weight
    scale = count
    if rule.factor is not None:
        factor = rule.factor(_either(i_first, i, j), _either(i_first, j, i, swapped=True))
        scale = tf.math.multiply_no_nan(tf.cast(factor, tf.float64), tf.cast(count, tf.float64))
    # What is no pair need not have terms that are numbers.
    term = tf.where(met, tf.cast(term, scale.dtype) * scale, 0)
    slope = tf.where(met, tf.cast(slope, scale.dtype) * scale, 0)
    slope = tf.where(i_first, slope, -slope)
    # As products with ones: XLA computes each number once, and what it reduces anew for each sum.
    term, count, slope = (tf.cast(x, tf.float64) for x in (term, count, slope))
    ones = tf.ones_like(j.score)
    of_first = [tf.linalg.matvec(x, ones) for x in (term, count, slope)]
    return _PairSums(tf.stack(of_first, -1), tf.linalg.matvec(slope, ones, transpose_a=True))


def _either(i_first: tf.Tensor, i: PairRows, j: PairRows, swapped: bool = False) -> Fields:
    """The fields of the first, or of the second, row of each pair."""
    a, b = (_row, _column) if swapped else (_column, _row)
    return {name: tf.where(i_first, a(i.fields[name]), b(j.fields[name])) for name in i.fields}


def size_of(values: tf.Tensor) -> int | tf.Tensor:
    """How many rows there are: a number, or where tracing does not know it, what XLA will."""
    return tf.shape(values)[0] if values.shape[0] is None else int(values.shape[0])


def first_of(group: tf.Tensor, number: tf.Tensor | int) -> tf.Tensor:
    """The first row of the group of each row; -1 for rows of group -1; `number` is above all."""
    first = tf.math.unsorted_segment_min(tf.range(tf.size(group)), group, number)
    return tf.where(group >= 0, tf.gather(first, tf.maximum(group, 0)), -1)


def last_of(group: tf.Tensor, number: tf.Tensor | int) -> tf.Tensor:
    """The last row of the group of each row; -1 for rows of group -1."""
    last = tf.math.unsorted_segment_max(tf.range(tf.size(group)), group, number)
    return tf.where(group >= 0, tf.gather(last, tf.maximum(group, 0)), -1)


def _column(values: tf.Tensor) -> tf.Tensor:
    return tf.expand_dims(values, -1)


def _row(values: tf.Tensor) -> tf.Tensor:
    return tf.expand_dims(values, -2)
