"""A function of a batch, run on one micro-batch after the other in a loop of the graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import tensorflow as tf

from keras_trainsteps import compat


class Parts(NamedTuple):
    """What a function gives of a micro-batch, and, put together, of a batch.

    Attributes:
        joined: Tensors of one entry per row or more, which follow each other.
        added: Tensors that are added up.
    """

    joined: list[tf.Tensor]
    added: list[tf.Tensor]


OfOne: TypeAlias = Callable[[list[tf.Tensor], tf.Tensor], Parts]
"""From the rows of one micro-batch, and its share in the rows of the batch, to its parts."""


class InTurn:
    """A function of a micro-batch, for all micro-batches of a batch.

    In a graph the function is traced once for each size that a micro-batch has: two of them
    where XLA, or a batch of known rows, leaves a shorter last one. One runs at a time.

    Args:
        of_one: The function.
        entries: Tensors of one entry per row.
        size: The rows of a micro-batch; the last one may have fewer.
    """

    def __init__(
        self,
        of_one: OfOne,
        entries: Sequence[tf.Tensor],
        size: int,
    ) -> None:
        self.of_one, self.entries, self.size = of_one, list(entries), size
        self.static = entries[0].shape[0]
        self.rows = tf.shape(entries[0])[0] if self.static is None else self.static
        self._graphs: dict[int | None, Any] = {}

    @property
    def first(self) -> int | None:
        """The rows of all micro-batches but the last, as they are traced; `None` for any."""
        return self.size if self.static is not None or compat.in_xla() else None

    def __call__(self) -> Parts:
        """The parts of the batch."""
        if tf.executing_eagerly():
            starts = range(0, max(int(self.rows), 1), self.size)
            return _together([self._of(start, self._count(start)) for start in starts])
        if self.static is not None:
            number, last = divmod(self.static, self.size)
        elif compat.in_xla():  # where sizes are fixed: known to XLA, if not while tracing
            number = tf.maximum((self.rows - 1) // self.size, 0)
            last = self.rows - number * self.size
        else:
            number = tf.maximum((self.rows + self.size - 1) // self.size, 1)
            return self._loop(number, None)
        parts = [self._loop(number, self.size)]
        if self.static is None or last:
            concrete = self.traced(None if self.static is None else last)
            parts.append(self._of(number * self.size, last, concrete))
        return _together(parts)

    def traced(self, rows: int | None) -> Any:
        """The function as a graph of so many rows; `None` for any number."""
        if rows not in self._graphs:
            self._graphs[rows] = self._trace(rows)
        return self._graphs[rows]

    def _trace(self, rows: int | None) -> Any:
        specs = [tf.TensorSpec([rows, *one.shape[1:]], one.dtype) for one in self.entries]

        def run(*given: tf.Tensor) -> Parts:
            return self.of_one(list(given[:-1]), given[-1])

        run_traced = tf.function(run, autograph=False)
        return run_traced.get_concrete_function(*specs, tf.TensorSpec([], tf.float32))

    def _count(self, start: Any) -> Any:
        rest = self.rows - start
        return min(self.size, rest) if isinstance(rest, int) else tf.minimum(self.size, rest)

    def _of(self, start: Any, count: Any, concrete: Callable[..., Parts] | None = None) -> Parts:
        """The parts of the `count` rows from `start` on."""
        places = start + tf.range(count)
        rows = [tf.gather(one, places) for one in self.entries]
        share = tf.math.divide_no_nan(tf.cast(count, tf.float32), tf.cast(self.rows, tf.float32))
        return self.of_one(rows, share) if concrete is None else concrete(*rows, share)

    def _loop(self, number: Any, rows: int | None) -> Parts:
        """The parts of the first micro-batches, all of `rows` rows; `None`: of up to `size`."""
        concrete = self.traced(rows)
        kinds = Parts(*concrete.structured_outputs)
        joined = [
            tf.TensorArray(kind.dtype, number, element_shape=kind.shape, infer_shape=False)
            for kind in kinds.joined
        ]
        added = [tf.zeros(kind.shape, kind.dtype) for kind in kinds.added]

        def body(index: tf.Tensor, joined: list[Any], added: list[Any]) -> Any:
            start = index * self.size
            found = self._of(start, rows or self._count(start), concrete)
            joined = [
                of_all.write(index, one) for of_all, one in zip(joined, found[0], strict=True)
            ]
            return index + 1, joined, [a + b for a, b in zip(added, found[1], strict=True)]

        _, joined, added = tf.while_loop(
            lambda index, *_: index < number,
            body,
            [tf.constant(0), joined, added],
            parallel_iterations=1,  # each keeps the activations of its micro-batch
        )
        return Parts(
            [_flat(of_all, kind) for of_all, kind in zip(joined, kinds.joined, strict=True)],
            added,
        )


def _flat(of_all: tf.TensorArray, kind: tf.TensorSpec) -> tf.Tensor:
    """The entries of all micro-batches behind each other."""
    if not kind.shape.is_fully_defined():
        return of_all.concat()
    stacked = of_all.stack()
    return tf.reshape(stacked, [-1, *kind.shape[1:]]) if kind.shape[0] else stacked


def _together(parts: Sequence[Parts]) -> Parts:
    if len(parts) == 1:
        return parts[0]
    joined = zip(*(part[0] for part in parts), strict=True)
    added = zip(*(part[1] for part in parts), strict=True)
    return Parts([tf.concat(each, 0) for each in joined], [_sum(each) for each in added])


def _sum(values: Sequence[tf.Tensor]) -> tf.Tensor:
    total = values[0]
    for value in values[1:]:
        total += value
    return total
