"""Logistic pairs at least one segment apart.

Between a row at `s_i` and rows at `s_j`, `SEGMENT` and more away, `softplus(-(s_i - s_j))`
is `s_j - s_i` where `s_j` is above and `exp(-(s_i - s_j))` where it is below, both to
within `exp(-SEGMENT)` = 1e-14 of the kernel. With the node weights `w` and places `z` of
a block that begins at `o`, four sums say all that other blocks need of it:

    S0 = sum w,    S1 = sum w z,    X+ = sum w exp(z),    X- = sum w exp(-z).

They are carried from block to block, towards higher and towards lower scores, always
relative to where the block begins that they have reached: so `exp` neither overflows nor
loses what is small, and one far row does not drown the rest. Carrying takes
`log2(blocks)` steps, each over twice the distance of the one before.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from .boxes import SEGMENT, Boxes


class Nodes(NamedTuple):
    """Node weights.

    Attributes:
        weights: `(blocks, levels, nodes)`.
        tied: Those that take part in ties.
    """

    weights: tf.Tensor
    tied: tf.Tensor


class Far(NamedTuple):
    """Sums over the blocks on one side, relative to where this block begins.

    Attributes:
        count: `sum w`, `(blocks, levels)`.
        distance: `sum w |place|`, the place seen from the beginning of this block.
        decayed: `sum w exp(-|place|)`.
    """

    count: tf.Tensor
    distance: tf.Tensor
    decayed: tf.Tensor


def far_sums(
    boxes: Boxes,
    higher: Nodes,
    lower: Nodes,
    places: tf.Tensor,
    ties: bool,
    zero_one: bool,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The total of each block, and the slopes at its nodes, over pairs of far blocks.

    Args:
        boxes: The blocks.
        higher: The nodes of rows as the higher ones of pairs.
        lower: The nodes of rows as the lower ones; maybe the same.
        places: Where the nodes lie in a block, `(nodes,)`.
        ties: Whether each pair counts twice and pairs of one label once in each order.
        zero_one: Whether the loss is the soft zero-one loss.

    Returns:
        The totals, and the slopes as higher and as lower rows.
    """
    origin = SEGMENT * boxes.segment
    rising, falling = tf.exp(places), tf.exp(-places)

    def beyond(nodes: Nodes) -> tuple[Far, Far, Far]:
        weights = nodes.weights
        count, first = tf.reduce_sum(weights, axis=2), tf.linalg.matvec(weights, places)
        up = Far(count, first, tf.linalg.matvec(weights, falling))
        down = Far(count, -first, tf.linalg.matvec(weights, rising))
        return up, *_beyond(up, down, origin, boxes.group)

    up, right, left = beyond(higher)
    low, low_right, low_left = (up, right, left) if lower is higher else beyond(lower)
    lower_right, lower_left = _below(low_right), _below(low_left)
    higher_right, higher_left = _above(right), _above(left)
    total = up.decayed * lower_left.decayed
    as_higher = -lower_left.decayed[..., None] * falling
    as_lower = higher_right.decayed[..., None] * rising
    if zero_one:  # 1 where the lower row is above, with a slope that decays on both sides
        total += up.count * lower_right.count
        as_higher -= lower_right.decayed[..., None] * rising
        as_lower += higher_left.decayed[..., None] * falling
    else:
        total += _apart(up, lower_right)
        as_higher -= lower_right.count[..., None]
        as_lower += higher_left.count[..., None]
    if not ties:
        return tf.reduce_sum(total, axis=1), as_higher, as_lower
    # The levels that take part do so with all of their rows or with none.
    part = tf.cast(tf.reduce_sum(tf.abs(higher.tied), 2) > 0, total.dtype)
    part = tf.maximum(part, tf.cast(tf.reduce_sum(tf.abs(lower.tied), 2) > 0, total.dtype))
    total = 2.0 * total + 0.5 * part * (_apart(up, low_right) + _apart(low, right))
    as_higher = 2.0 * as_higher + (0.5 * part * (low_left.count - low_right.count))[..., None]
    as_lower = 2.0 * as_lower + (0.5 * part * (left.count - right.count))[..., None]
    return tf.reduce_sum(total, axis=1), as_higher, as_lower


def _apart(here: Far, right: Far) -> tf.Tensor:
    """The sum of the distances of the rows of each block to those that lie to its right."""
    return here.count * right.distance - here.distance * right.count


def _beyond(up: Far, down: Far, origin: tf.Tensor, group: tf.Tensor) -> tuple[Far, Far]:
    """The sums over the blocks of the same group, two segments and more to each side."""
    # Seen from above, scores are mirrored and blocks come in the opposite order. Both ways
    # are gone at once, as if the mirrored blocks were more blocks, of groups of their own.
    sums = tf.concat([tf.stack(up), tf.reverse(tf.stack(down), [1])], axis=1)
    origin = tf.concat([origin, -tf.reverse(origin, [0])], axis=0)
    group = tf.concat([group, -1 - tf.reverse(group, [0])], axis=0)
    blocks = tf.size(group)

    def double(step: tf.Tensor, sums: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return 2 * step, sums + _moved(sums, step, origin, group)

    _, sums = tf.while_loop(lambda step, _: step < blocks, double, (tf.constant(1), sums))
    after = tf.minimum(tf.range(blocks) + 1, blocks - 1)
    beside = tf.gather(origin, after) - origin < 1.5 * SEGMENT
    sums = _moved(sums, tf.where(beside, 2, 1), origin, group)
    right, left = tf.split(sums, 2, axis=1)
    return Far(*tf.unstack(right)), Far(*tf.unstack(tf.reverse(left, [1])))


def _moved(sums: tf.Tensor, step: tf.Tensor, origin: tf.Tensor, group: tf.Tensor) -> tf.Tensor:
    """The sums `step` blocks to the right, seen from here; 0 past the group's end."""
    blocks = tf.size(group)
    wanted = tf.range(blocks) + step
    index = tf.minimum(wanted, blocks - 1)
    there = tf.equal(wanted, index) & tf.equal(tf.gather(group, index), group)
    distance = tf.expand_dims(tf.where(there, tf.gather(origin, index) - origin, 0.0), 1)
    sums = tf.where(tf.expand_dims(there, 1), tf.gather(sums, index, axis=1), 0.0)
    count, first, decayed = tf.unstack(sums)
    return tf.stack([count, first + count * distance, decayed * tf.exp(-distance)])


def _below(sums: Far) -> Far:
    return Far(*(tf.cumsum(value, axis=1, exclusive=True) for value in sums))


def _above(sums: Far) -> Far:
    return Far(*(tf.cumsum(value, axis=1, exclusive=True, reverse=True) for value in sums))
