"""The network on some rows of a batch at a time: `compile(micro_batch_size=...)`.

Losses depend on the network through its outputs alone. So the network runs forward first, some
rows at a time, and keeps outputs and no activations; every loss is computed once, of the whole
batch; and what its gradient says of the outputs goes back through the network some rows at a
time, which run forward once more for that (Gao et al. 2021,
[Scaling Deep Contrastive Learning Batch Size](https://arxiv.org/abs/2101.06983)).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from keras_trainsteps import compat
from keras_trainsteps.step.called import Called, Tensors, times_rows
from keras_trainsteps.step.replayable import (
    require_by_rows,
    require_replayable,
    require_rows,
    require_stateless,
)


class MicroBatches(NamedTuple):
    """How the network sees a batch.

    Attributes:
        size: The number of rows that it sees at a time.
        alone: Names of layers that may depend on which rows these are.
    """

    size: int
    alone: tuple[str, ...] = ()


class Passes:
    """The passes of a network through one batch, some rows at a time.

    Args:
        model: The model.
        micro_batches: How it sees the batch.
        x: What its network reads of the batch.
        metrics: Where what is added as metrics in a call is kept.

    Attributes:
        reached: The variables that the network reads, once it has run in a graph.
    """

    def __init__(
        self,
        model: keras.Model,
        micro_batches: MicroBatches,
        x: Any,
        metrics: Sequence[dict[str, Any]],
    ) -> None:
        require_stateless(compat.sublayers(model))
        self._model, self._size = model, micro_batches.size
        self._x, self._added = x, metrics
        self._leaves = [leaf for leaf in keras.tree.flatten(x) if leaf is not None]
        self._static = require_rows(self._leaves)
        if self._static is None and compat.in_xla():
            raise ValueError(
                "`micro_batch_size` needs batches of a known number of rows where they are "
                "compiled by XLA. Received: batches of any number. Cut them by "
                "`dataset.batch(..., drop_remainder=True)` or `data.query_batches(..., "
                "pad=True)`, or compile with `jit_compile=False`."
            )
        self._rows = tf.shape(self._leaves[0])[0]
        alone = [layer for layer in compat.sublayers(model) if layer.name in micro_batches.alone]
        inside = [one for layer in alone for one in layer.non_trainable_variables]
        self._states = [*compat.random_states(model), *inside]
        self._before: list[tf.Tensor] = []
        self._made: list[tf.Tensor] = []
        self._last: Called | None = None
        self.reached: Sequence[tf.Variable] = ()

    @property
    def is_whole(self) -> bool:
        """Whether the network sees the whole batch at once."""
        return self._static is not None and self._static <= self._size

    def forward(self, *, training: bool, tape: tf.GradientTape | None) -> Any:
        """The output of the network for all rows; `tape` records nothing of its making."""
        self._before = [tf.identity(state) for state in self._states]
        if tape is None:
            found = self._forward(training)
        else:
            with tape.stop_recording():
                found = self._forward(training)
            self._made = [*found["outputs"], *found["losses"]]
            tape.watch([output for output in self._made if output.dtype.is_floating])
        assert self._last is not None  # a batch has a row
        return self._last.with_tensors(found)

    def gradients(
        self, tape: tf.GradientTape, value: tf.Tensor, weights: Sequence[keras.Variable]
    ) -> list[Any]:
        """The gradients of a value with weights, through the network and past it."""
        number = len(weights)
        sources = [one for one in self._made if one.dtype.is_floating]
        found = tape.gradient(value, [*weights, *sources])
        past, back = found[:number], iter(found[number:])
        above = [next(back) if one.dtype.is_floating else None for one in self._made]
        if not weights or all(gradient is None for gradient in above):
            return past
        dense = [None if one is None else tf.convert_to_tensor(one) for one in above]
        through = self._backward(dense, weights)
        return [_sum(*pair) for pair in zip(past, through, strict=True)]

    def _call(self, rows: Sequence[tf.Tensor], *, training: bool) -> Called:
        given = iter(rows)
        x = keras.tree.map_structure(lambda leaf: None if leaf is None else next(given), self._x)
        compat.forget_losses_of_calls(self._model)
        y_pred = self._model(x, training=training)
        metrics = [(kept, dict(kept)) for kept in self._added]
        for kept in self._added:
            kept.clear()
        self._last = Called(y_pred, compat.losses_by_layer(self._model), metrics)
        require_by_rows(self._last, rows[0])
        return self._last

    def _forward(self, training: bool) -> Tensors:
        def call(*rows: tf.Tensor) -> Tensors:
            return times_rows(self._call(rows, training=training).flat, rows[0])

        if tf.executing_eagerly():
            return self._joined(
                [self._noted(call, start) for start in range(0, int(self._rows), self._size)]
            )
        traced = tf.function(call, autograph=False)
        specs = [tf.TensorSpec(leaf.shape, leaf.dtype) for leaf in self._cut(tf.constant(0))]
        function = traced.get_concrete_function(*specs)
        self.reached = function.graph.variables
        if training:
            require_replayable(self._model, self._states, function.graph.get_operations())
        arrays = keras.tree.map_structure(
            lambda one: tf.TensorArray(one.dtype, self._loops, element_shape=one.shape),
            function.structured_outputs,
        )

        def step(place: tf.Tensor, arrays: Any) -> Any:
            found = traced(*self._cut(place * self._size))
            return keras.tree.map_structure(
                lambda array, value: array.write(place, value), arrays, found
            )

        called = self._last
        parts = [keras.tree.map_structure(self._of_loop, self._each(step, arrays))]
        if self._rest:
            parts.append(traced(*self._cut_rest()))
        self._last = called
        return self._joined(parts)

    def _noted(self, call: Callable[..., Tensors], start: int) -> Tensors:
        """Calls the network on some rows eagerly, and notes which variables it reads."""
        with tf.GradientTape() as tape:
            found = call(*self._cut(tf.constant(start)))
            self.reached = tape.watched_variables()
        return found

    def _backward(
        self, upstream: Sequence[tf.Tensor | None], weights: Sequence[keras.Variable]
    ) -> list[tf.Tensor | None]:
        for state, before in zip(self._states, self._before, strict=True):
            state.assign(before)  # to draw the same numbers again
        connected = [False] * len(weights)
        called = self._last
        assert called is not None
        by_rows, scalars = len(called.outputs), len(upstream)

        def of_rows(rows: Sequence[tf.Tensor], upstream: Sequence[Any], sums: Any) -> Any:
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch([weight.value for weight in weights])
                found = times_rows(self._call(rows, training=True).flat, rows[0])
                outputs = [*found["outputs"], *found["losses"]]
            pairs = [(o, u) for o, u in zip(outputs, upstream, strict=True) if u is not None]
            targets, above = zip(*pairs, strict=True)
            gradients = tape.gradient(list(targets), weights, output_gradients=list(above))
            for place, gradient in enumerate(gradients):
                connected[place] |= gradient is not None
            return [_sum(*pair) for pair in zip(sums, gradients, strict=True)]

        rows = tf.cast(self._rows, tf.float32)
        of_losses = [
            None if one is None else one / tf.cast(rows, one.dtype)
            for one in upstream[by_rows:scalars]
        ]
        of_outputs = upstream[:by_rows]

        def step(place: tf.Tensor, sums: Any) -> Any:
            start = place * self._size
            above = [None if one is None else self._cut_one(one, start) for one in of_outputs]
            return of_rows(self._cut(start), [*above, *of_losses], sums)

        sums = [tf.zeros(weight.shape, weight.dtype) for weight in weights]
        sums = self._each(step, sums)
        if self._rest:
            above = [None if one is None else self._rest_of(one) for one in of_outputs]
            sums = of_rows(self._cut_rest(), [*above, *of_losses], sums)
        self._last = called
        return [s if is_there else None for s, is_there in zip(sums, connected, strict=True)]

    @property
    def _loops(self) -> Any:
        """The number of micro-batches of one size, or of all where rows are not known."""
        if self._static is not None:
            return self._static // self._size
        return -(-self._rows // self._size)

    @property
    def _rest(self) -> int:
        """The rows of the last micro-batch, where it is known to be a smaller one."""
        return 0 if self._static is None else self._static % self._size

    def _each(self, step: Callable[[tf.Tensor, Any], Any], state: Any) -> Any:
        """The state after `step(place, state)` for each micro-batch in turn."""
        _, state = tf.while_loop(
            lambda place, _: place < self._loops,
            lambda place, state: (place + 1, step(place, state)),
            (tf.constant(0), state),
            parallel_iterations=1,  # else TensorFlow keeps activations of several
        )
        return state

    def _cut(self, start: tf.Tensor) -> list[tf.Tensor]:
        return [self._cut_one(leaf, start) for leaf in self._leaves]

    def _cut_one(self, leaf: tf.Tensor, start: tf.Tensor) -> tf.Tensor:
        if self._static is None or tf.executing_eagerly():
            return leaf[start : tf.minimum(start + self._size, self._rows)]
        axes = leaf.shape.rank - 1
        return tf.slice(leaf, [start, *[0] * axes], [self._size, *[-1] * axes])

    def _cut_rest(self) -> list[tf.Tensor]:
        return [self._rest_of(leaf) for leaf in self._leaves]

    def _rest_of(self, leaf: tf.Tensor) -> tf.Tensor:
        return leaf[self._loops * self._size :]

    def _of_loop(self, array: tf.TensorArray) -> tf.Tensor:
        if array.element_shape.rank == 0:
            return tf.reduce_sum(array.stack())
        if self._static is None:
            return array.concat()
        pieces = array.stack()
        return tf.reshape(pieces, tf.concat([[-1], tf.shape(pieces)[2:]], 0))

    def _joined(self, parts: Sequence[Tensors]) -> Tensors:
        """One tensor of all rows from those of parts; a mean of what is one number of each."""

        def one(*of_parts: tf.Tensor) -> tf.Tensor:
            if of_parts[0].shape.rank == 0:
                total = tf.add_n(of_parts)
                return total / tf.cast(self._rows, total.dtype)
            joined = tf.concat(of_parts, 0) if len(of_parts) > 1 else of_parts[0]
            return tf.ensure_shape(joined, (self._static, *joined.shape[1:]))

        return keras.tree.map_structure(one, *parts)


def _sum(first: Any, second: Any) -> Any:
    """The sum of two gradients, either of which may be none, or of some rows."""
    if second is None or first is None:
        return first if second is None else second
    if isinstance(first, tf.IndexedSlices):
        first, second = second, first
    if isinstance(first, tf.IndexedSlices):
        first = tf.convert_to_tensor(first)
    if isinstance(second, tf.IndexedSlices):
        values = tf.cast(second.values, first.dtype)
        return tf.tensor_scatter_nd_add(first, second.indices[:, None], values)
    return first + tf.cast(second, first.dtype)
