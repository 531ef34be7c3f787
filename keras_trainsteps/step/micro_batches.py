"""The network on some rows of a batch at a time: `compile(micro_batch_size=...)`.

Losses depend on the network through its outputs alone. So the network runs forward first, some
rows at a time, and keeps outputs and no activations; every loss is computed once, of the whole
batch; and what its gradient says of the outputs goes back through the network some rows at a
time, which run forward once more for that (Gao et al. 2021,
[Scaling Deep Contrastive Learning Batch Size](https://arxiv.org/abs/2101.06983)).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from keras_trainsteps import compat
from keras_trainsteps.step.called import Called
from keras_trainsteps.step.in_turn import InTurn, Parts
from keras_trainsteps.step.replayable import (
    require_by_rows,
    require_replayable,
    require_rows,
    require_stateless,
    require_whole,
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
        reached: The variables that the network reads, once it has run.
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
        alone = [layer for layer in compat.sublayers(model) if layer.name in micro_batches.alone]
        self._alone = [one for layer in alone for one in layer.non_trainable_variables]
        self._states: list[keras.Variable] = []
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
        with contextlib.nullcontext() if tape is None else tape.stop_recording():
            parts = self._forward(training)
            last = self._last
            assert last is not None  # a batch has a row
            found = last.of(parts)
            require_whole(found["outputs"], self._leaves)
            found = {kind: [_kept_apart(one) for one in found[kind]] for kind in found}
        if tape is not None:
            self._made = [*found["outputs"], *found["losses"]]
            tape.watch([output for output in self._made if output.dtype.is_floating])
        return last.with_tensors(found)

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

    def _forward(self, training: bool) -> Parts:
        def of_one(rows: list[tf.Tensor], share: tf.Tensor) -> Parts:
            if not tf.executing_eagerly():
                return self._call(rows, training=training).parts(share)
            with tf.GradientTape() as tape:  # which sees what the network reads
                parts = self._call(rows, training=training).parts(share)
                self.reached = tape.watched_variables()
            return parts

        in_turn = InTurn(of_one, self._leaves, self._size)
        if not tf.executing_eagerly():
            graph = in_turn.traced(in_turn.first).graph
            self.reached = graph.variables
        # Once it is traced: `keras.random` makes its generator in the first call.
        self._states = [*compat.random_states(self._model), *self._alone]
        if training and not tf.executing_eagerly():
            require_replayable(self._model, self._states, graph)
        self._before = [tf.identity(state) for state in self._states]
        return in_turn()

    def _backward(
        self, upstream: Sequence[tf.Tensor | None], weights: Sequence[keras.Variable]
    ) -> list[Any]:
        last = self._last
        assert last is not None
        places = [place for place, one in enumerate(upstream) if one is not None]
        of_rows = [place for place in places if place < len(last.outputs)]
        kinds: list[Any] = []

        def of_one(rows: list[tf.Tensor], share: tf.Tensor) -> Parts:
            own, given = rows[: len(self._leaves)], rows[len(self._leaves) :]
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch([weight.value for weight in weights])
                found = self._call(own, training=True).of_share(share)
                made = [*found["outputs"], *found["losses"]]
            above = dict(enumerate(upstream)) | dict(zip(of_rows, given, strict=True))
            gradients = tape.gradient(
                [made[place] for place in places],
                weights,
                output_gradients=[above[place] for place in places],
            )
            kinds[:] = [None if one is None else type(one) for one in gradients]
            parts = Parts([], [])
            for gradient, weight in zip(gradients, weights, strict=True):
                if isinstance(gradient, tf.IndexedSlices):  # of some rows of an embedding
                    values = tf.ensure_shape(gradient.values, [None, *weight.shape[1:]])
                    parts.joined.extend([values, gradient.indices])
                elif gradient is not None:
                    parts.added.append(tf.ensure_shape(gradient, weight.shape))
            return parts

        entries = [*self._leaves, *(upstream[place] for place in of_rows)]
        after = [tf.identity(state) for state in self._states]
        _assign(self._states, self._before)  # to draw the same numbers again
        joined, added = map(iter, InTurn(of_one, entries, self._size)())
        _assign(self._states, after)  # of losses that draw, too
        self._last = last
        return [
            _gradient(kind, weight, joined, added)
            for kind, weight in zip(kinds, weights, strict=True)
        ]


def _kept_apart(value: tf.Tensor) -> tf.Tensor:
    """A value whose gradient `Passes` alone knows, and `tf.gradients` does not."""
    return tf.raw_ops.PreventGradient(
        input=value,
        message="With `micro_batch_size` the network keeps no activations, and its output must "
        "not be differentiated in a hook. Call the network there, or compile without it.",
    )


def _assign(states: Sequence[keras.Variable], values: Sequence[tf.Tensor]) -> None:
    for state, value in zip(states, values, strict=True):
        state.assign(value)


def _gradient(
    kind: Any, weight: keras.Variable, joined: Iterator[tf.Tensor], added: Iterator[tf.Tensor]
) -> Any:
    """The gradient with one weight: none, of some rows, or of all."""
    if kind is None:
        return None
    if kind is tf.IndexedSlices:
        return tf.IndexedSlices(next(joined), next(joined), tf.constant(list(weight.shape)))
    return next(added)


def _sum(past: Any, through: Any) -> Any:
    """Two gradients with one weight as one, as a tape adds them up."""
    if past is None or through is None:
        return through if past is None else past
    if isinstance(past, tf.IndexedSlices) and isinstance(through, tf.IndexedSlices):
        indices = [tf.cast(one.indices, tf.int64) for one in (past, through)]
        values = tf.concat([past.values, through.values], 0)
        return tf.IndexedSlices(values, tf.concat(indices, 0), through.dense_shape)
    return tf.convert_to_tensor(past) + tf.convert_to_tensor(through)
