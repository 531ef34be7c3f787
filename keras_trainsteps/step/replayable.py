"""What a network must be to see some rows of a batch at a time, and twice: else refused."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_trainsteps import compat
from keras_trainsteps.step.called import Called

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


def require_stateless(layers: Iterable[keras.layers.Layer]) -> None:
    """Refuses layers that go on from the batch before."""
    stateful = [layer.name for layer in layers if getattr(layer, "stateful", False)]
    if stateful:
        raise ValueError(
            "Layers must not go on from the batch before where the network runs in "
            f"micro-batches. Received: {stateful}, which are `stateful`. Compile without "
            "`micro_batch_size`."
        )


def require_rows(leaves: Sequence[Any]) -> int | None:
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


def require_by_rows(called: Called, rows: tf.Tensor) -> None:
    """Refuses outputs that are not one per row, and losses of layers that are no scalars."""
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


def require_replayable(
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
