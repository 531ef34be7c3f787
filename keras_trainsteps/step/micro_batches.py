"""The network on some rows of a batch at a time: `compile(micro_batch_size=...)`.

Losses depend on the network through its outputs alone. So the network runs forward first, some
rows at a time, and keeps outputs and no activations; every loss is computed once, of the whole
batch; and what its gradient says of the outputs goes back through the network some rows at a
time, which run forward once more for that (Gao et al. 2021,
[Scaling Deep Contrastive Learning Batch Size](https://arxiv.org/abs/2101.06983)).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

import keras
import tensorflow as tf

from keras_trainsteps import compat
from keras_trainsteps.step.terms import loss_name, named_loss


class MicroBatches(NamedTuple):
    """How the network sees a batch.

    Attributes:
        size: The number of rows that it sees at a time.
        alone: Names of layers that may depend on which rows these are.
    """

    size: int
    alone: tuple[str, ...] = ()


Tensors: TypeAlias = dict[str, list[Any]]
"""What a call of a network gives, by kind: `_Called.flat`."""


@dataclasses.dataclass
class _Called:
    """What a call of the network gives: tensors, and where they belong.

    Attributes:
        y_pred: Its output.
        losses: What layers have added in the call, by layer.
        metrics: What was passed to `add_metric` in the call, beside where that is kept.
    """

    y_pred: Any
    losses: list[tuple[keras.layers.Layer, list[Any]]]
    metrics: list[tuple[dict[str, Any], dict[str, Any]]]

    @property
    def outputs(self) -> list[tf.Tensor]:
        return [one for one in keras.tree.flatten(self.y_pred) if one is not None]

    @property
    def flat(self) -> Tensors:
        """Its tensors: outputs, their masks, losses, metrics."""
        masks = (compat.mask_of(output) for output in self.outputs)
        return {
            "outputs": self.outputs,
            "masks": [mask for mask in masks if mask is not None],
            "losses": [loss for _, losses in self.losses for loss in losses],
            "metrics": [value for _, added in self.metrics for value in added.values()],
        }

    def with_tensors(self, found: Tensors) -> Any:
        """The output made of other tensors; losses and metrics are put where these were."""
        outputs, masks, losses, metrics = (iter(found[key]) for key in self.flat)
        for layer, of_layer in self.losses:
            names = [loss_name(loss) for loss in of_layer]
            values = [next(losses) for _ in of_layer]
            compat.set_losses_of_call(
                layer,
                [
                    v if n is None else named_loss(v, n)
                    for v, n in zip(values, names, strict=True)
                ],
            )
        for kept, added in self.metrics:
            kept.update({name: next(metrics) for name in added})

        def of(output: Any) -> Any:
            if output is None:
                return None
            new = next(outputs)
            masked = compat.mask_of(output) is not None
            return compat.with_mask(new, next(masks)) if masked else new

        return keras.tree.map_structure(of, self.y_pred)


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
        _require_stateless(compat.sublayers(model))
        self._model, self._size = model, micro_batches.size
        self._x, self._metrics = x, metrics
        self._leaves = [leaf for leaf in keras.tree.flatten(x) if leaf is not None]
        self._static = _require_rows(self._leaves)
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
        self._outputs: list[tf.Tensor] = []
        self._called: _Called | None = None
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
            self._outputs = [*found["outputs"], *found["losses"]]
            tape.watch([output for output in self._outputs if output.dtype.is_floating])
        assert self._called is not None  # a batch has a row
        return self._called.with_tensors(found)

    def gradients(
        self, tape: tf.GradientTape, value: tf.Tensor, weights: Sequence[keras.Variable]
    ) -> list[Any]:
        """The gradients of a value with weights, through the network and past it."""
        number = len(weights)
        found = tape.gradient(value, [*weights, *self._outputs])
        past, back = found[:number], found[number:]
        if all(gradient is None for gradient in back):
            return past
        through = self._backward(
            [None if one is None else tf.convert_to_tensor(one) for one in back], weights
        )
        return [_sum(*pair) for pair in zip(past, through, strict=True)]

    def _call(self, rows: Sequence[tf.Tensor], *, training: bool) -> _Called:
        given = iter(rows)
        x = keras.tree.map_structure(lambda leaf: None if leaf is None else next(given), self._x)
        compat.forget_losses_of_calls(self._model)
        y_pred = self._model(x, training=training)
        metrics = [(kept, dict(kept)) for kept in self._metrics]
        for kept in self._metrics:
            kept.clear()
        self._called = _Called(y_pred, compat.losses_by_layer(self._model), metrics)
        _require_by_rows(self._called, rows[0])
        return self._called

    def _forward(self, training: bool) -> Tensors:
        def call(*rows: tf.Tensor) -> Tensors:
            return _times_rows(self._call(rows, training=training).flat, rows[0])

        if tf.executing_eagerly():
            return self._joined(
                [self._noted(call, start) for start in range(0, int(self._rows), self._size)]
            )
        traced = tf.function(call, autograph=False)
        specs = [tf.TensorSpec(leaf.shape, leaf.dtype) for leaf in self._cut(tf.constant(0))]
        function = traced.get_concrete_function(*specs)
        self.reached = function.graph.variables
        if training:
            _require_replayable(self._model, self._states, function.graph.get_operations())
        arrays = keras.tree.map_structure(
            lambda one: tf.TensorArray(one.dtype, self._loops, element_shape=one.shape),
            function.structured_outputs,
        )

        def step(place: tf.Tensor, arrays: Any) -> Any:
            found = traced(*self._cut(place * self._size))
            return keras.tree.map_structure(
                lambda array, value: array.write(place, value), arrays, found
            )

        called = self._called
        parts = [keras.tree.map_structure(self._of_loop, self._each(step, arrays))]
        if self._rest:
            parts.append(traced(*self._cut_rest()))
        self._called = called
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
        called = self._called
        assert called is not None
        by_rows, scalars = len(called.outputs), len(upstream)

        def of_rows(rows: Sequence[tf.Tensor], upstream: Sequence[Any], sums: Any) -> Any:
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch([weight.value for weight in weights])
                found = _times_rows(self._call(rows, training=True).flat, rows[0])
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
        self._called = called
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


def _require_rows(leaves: Sequence[Any]) -> int | None:
    """The number of rows of the inputs of a network; `None` where it is not known yet."""
    found: set[int | None] = set()
    for leaf in leaves:
        if not isinstance(leaf, tf.Tensor) or leaf.shape.rank == 0:
            kind = "a scalar" if isinstance(leaf, tf.Tensor) else f"a {type(leaf).__name__}"
            raise ValueError(
                "Inputs must be dense tensors of one entry per row, to be cut into "
                f"micro-batches. Received: {kind}. Compile without `micro_batch_size`."
            )
        found.add(leaf.shape[0])
    known = found - {None}
    if len(known) > 1 or not found:
        raise ValueError(
            "Inputs must have the same number of rows, to be cut into micro-batches. Received: "
            f"{sorted(map(str, found))}. Compile without `micro_batch_size`."
        )
    return next(iter(known), None)


def _require_stateless(layers: Iterable[keras.layers.Layer]) -> None:
    stateful = [layer.name for layer in layers if getattr(layer, "stateful", False)]
    if stateful:
        raise ValueError(
            "Layers must not go on from the batch before where the network runs in "
            f"micro-batches. Received: {stateful}, which are `stateful`. Compile without "
            "`micro_batch_size`."
        )


def _require_by_rows(called: _Called, rows: tf.Tensor) -> None:
    for output in called.outputs:
        rank, size = output.shape.rank, rows.shape[0]
        if rank == 0 or (output.shape[0] is not None and output.shape[0] != size):
            raise ValueError(
                "Outputs must have one entry per row of the input, to be put together from "
                f"micro-batches. Received: shape {tuple(output.shape)} for {size} rows. "
                "Compile without `micro_batch_size`."
            )
    for _, losses in called.losses:
        for loss in losses:
            if tf.convert_to_tensor(loss).shape.rank != 0:
                raise ValueError(
                    "`add_loss` must be given a scalar in micro-batches. Received: shape "
                    f"{tuple(loss.shape)}. Take its mean."
                )


def _require_replayable(
    model: keras.Model, states: Sequence[keras.Variable], operations: Iterable[tf.Operation]
) -> None:
    """Refuses a network that gives something else when it runs once more."""
    operations = list(operations)
    random = sorted({one.type for one in operations if one.type in _RANDOM})
    if random:
        raise ValueError(
            "A network must draw from `keras.random` with a `SeedGenerator` where it runs in "
            f"micro-batches, to draw the same numbers again. Received: TensorFlow's {random}."
        )
    known = {id(state.value.handle) for state in states}
    changed = {id(handle) for handle in compat.changed_by(operations)} - known
    every = [*model.variables, *model.metrics_variables]
    paths = sorted(v.path for v in every if id(getattr(v.value, "handle", None)) in changed)
    if paths:
        raise ValueError(
            "Layers must not change in a call where the network runs in micro-batches: what they "
            "see is not the batch, and they see it twice. Received: changes of "
            f"{paths}. Freeze such a layer (`layer.trainable = False` for BatchNormalization), "
            "use LayerNormalization or GroupNormalization, or allow the layers by "
            "`compile(per_micro_batch=[...])`, with their names."
        )


def _named_as(loss: Any, value: tf.Tensor) -> tf.Tensor:
    name = loss_name(loss)
    return value if name is None else named_loss(value, name)


def _times_rows(tensors: Tensors, rows: tf.Tensor) -> Tensors:
    """Means over rows as sums."""

    def times(one: Any) -> tf.Tensor:
        one = tf.convert_to_tensor(one)
        return one * tf.cast(tf.shape(rows)[0], one.dtype) if one.shape.rank == 0 else one

    return {key: [times(one) for one in found] for key, found in tensors.items()}


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


_RANDOM = {
    "Multinomial",
    "ParameterizedTruncatedNormal",
    "RandomGamma",
    "RandomPoissonV2",
    "RandomShuffle",
    "RandomStandardNormal",
    "RandomUniform",
    "RandomUniformInt",
    "TruncatedNormal",
}
