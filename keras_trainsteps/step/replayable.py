"""What a network must be to see some rows of a batch at a time, and twice: else refused."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_trainsteps import compat
from keras_trainsteps.step.called import Called
from keras_trainsteps.step.terms import FAILED


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
    if None in found:  # seen while it runs
        for leaf in leaves[1:]:
            tf.debugging.assert_equal(
                tf.shape(leaf)[0],
                tf.shape(leaves[0])[0],
                message=f"{FAILED}Inputs must have the same number of rows, to be cut into "
                "micro-batches. Received: different ones. Make what is the same for all rows an "
                "attribute of the model, or compile without `micro_batch_size`.",
            )
    return next(iter(known), None)


def require_whole(outputs: Iterable[tf.Tensor], leaves: Sequence[tf.Tensor]) -> None:
    """Refuses, while it runs, outputs of more or fewer rows than the inputs."""
    for output in outputs:
        if output.shape[0] is None or output.shape[0] != leaves[0].shape[0]:
            tf.debugging.assert_equal(
                tf.shape(output)[0],
                tf.shape(leaves[0])[0],
                message=f"{FAILED}Outputs must have one entry per row of the input, to be put "
                "together from micro-batches. Received: another number of rows. Compile without "
                "`micro_batch_size`.",
            )


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
    model: keras.Model, states: Sequence[keras.Variable], graph: tf.Graph
) -> None:
    """Refuses a network that gives something else when it runs once more.

    Args:
        model: The model.
        states: What is put back before it runs once more.
        graph: That of a call of its network.
    """
    _require_nothing_kept(model, graph)
    random = sorted(filter(compat.draws_by_itself, compat.kinds_of(graph)))
    if random:
        raise ValueError(
            "A network must draw from `keras.random` with a `SeedGenerator` where it runs in "
            f"micro-batches, to draw the same numbers again. Received: TensorFlow's {random}."
        )
    known = _handles(states)
    changed = {id(handle) for handle in compat.changed_by(graph.get_operations())} - known
    every = [*model.variables, *model.metrics_variables]
    paths = sorted({one.path for one in every if _handles([one]) & changed})
    if changed - _handles(every):
        paths.append("a variable that is of no layer")
    if paths:
        raise ValueError(
            "Layers must not change in a call where the network runs in micro-batches: what they "
            "see is not the batch, and they see it twice. Received: changes of "
            f"{paths}. Freeze such a layer (`layer.trainable = False` for BatchNormalization), "
            "use LayerNormalization or GroupNormalization, make a `SeedGenerator` an attribute "
            "of its layer, or allow the layers by `compile(per_micro_batch=[...])`, with their "
            "names."
        )


def _require_nothing_kept(model: keras.Model, graph: tf.Graph) -> None:
    """Refuses tensors of one micro-batch that a call makes attributes, for a hook to read."""
    kept = [
        f"{layer.name}.{name}"
        for layer in (model, *compat.sublayers(model))
        for name, value in vars(layer).items()
        if isinstance(value, tf.Tensor) and getattr(value, "graph", None) is graph
    ]
    if kept:
        raise ValueError(
            "A network must return what it computes where it runs in micro-batches: an attribute "
            f"would be of the last of them alone. Received: a call that sets {kept}. Return it "
            "beside the other outputs, and read it from `y_pred`."
        )


def _handles(variables: Iterable[keras.Variable]) -> set[int]:
    return {id(handle) for one in variables for handle in compat.handles_of_variable(one)}
