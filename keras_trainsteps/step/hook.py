"""What `compute_losses` returns, as terms of the step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import tensorflow as tf

from keras_trainsteps import compat
from keras_trainsteps.step import padding, running
from keras_trainsteps.step.batch import Batch
from keras_trainsteps.step.terms import FAILED, LossTerm, StepTerm, as_loss, reduce_returned


def hook_terms(
    hook: Callable[..., Any],
    batch: Batch,
    y_pred: Any,
    rows: tf.Tensor,
    training: bool,
    repeat: int = 0,
    *,
    hook_name: str,
) -> list[StepTerm]:
    """The terms that a hook returns for one batch; it takes what `objective.GIVEN` names."""
    _require_one_shape(batch.y, y_pred)
    sample_weight = _row_weight(batch.sample_weight)
    wide = keras.tree.map_structure(_wide, y_pred)
    returned = hook(
        x=batch.x,
        y=_targets(batch.y, wide),
        y_pred=wide,
        sample_weight=sample_weight,
        training=training,
        repeat=repeat,
    )
    if not isinstance(returned, Mapping) or isinstance(returned, LossTerm):
        raise TypeError(
            f"`{hook_name}` must return a dict of name to loss. Received: "
            f"{type(returned).__name__}. Return `{{'my_loss': ...}}`."
        )
    step = running.current()
    row_mask = None if step is None else step.row_mask
    for name, value in returned.items():
        _require_rowwise(name, value, batch, y_pred)
        if isinstance(value, LossTerm) or tf.convert_to_tensor(value).shape.rank == 0:
            whole = value.total if isinstance(value, LossTerm) else value
            padding.require_reads_mask(f"Loss term {name!r}", whole, step)
    return [
        reduce_returned(name, value, rows=rows, sample_weight=sample_weight, row_mask=row_mask)
        for name, value in returned.items()
    ]


def _targets(y: Any, y_pred: Any) -> Any:
    """Float targets in the dtype of losses; in float64 where an output is."""
    outputs = keras.tree.flatten(y_pred)
    double = any(output is not None and output.dtype == tf.float64 for output in outputs)
    dtype = tf.float64 if double else as_loss(0.0).dtype

    def target(value: Any) -> Any:
        is_float = tf.is_tensor(value) and value.dtype.is_floating
        return tf.cast(value, dtype) if is_float else value

    return keras.tree.map_structure(target, y)


def _wide(output: Any) -> Any:
    """An output of float16 or bfloat16 in float32, with its mask."""
    if output is None or not output.dtype.is_floating or output.dtype.size >= 4:
        return output
    return compat.with_mask_of(output, tf.cast(output, tf.float32))


def _row_weight(sample_weight: Any) -> tf.Tensor | None:
    """`sample_weight` as one tensor; Keras copies one array for each target in a dict."""
    leaves = [leaf for leaf in keras.tree.flatten(sample_weight) if leaf is not None]
    if not leaves:
        return None
    first = as_loss(leaves[0])
    checks = [
        tf.debugging.assert_equal(
            as_loss(leaf),
            first,
            f"{FAILED}`sample_weight` must be the same for every target when "
            "`compute_losses` is used. Received: weights that differ. Pass the others "
            "as side inputs in `x`.",
        )
        for leaf in leaves[1:]
    ]
    with tf.control_dependencies([check for check in checks if check is not None]):
        return tf.identity(first)


def _require_one_shape(y: Any, y_pred: Any) -> None:
    """Refuses `(rows,)` beside `(rows, 1)`, whose difference has shape `(rows, rows)`."""
    targets, outputs = keras.tree.flatten(y), keras.tree.flatten(y_pred)
    paths = [[path for path, _ in keras.tree.flatten_with_path(each)] for each in (y, y_pred)]
    if len(targets) == len(outputs) > 1 and paths[0] != paths[1]:
        return  # by name: which belongs to which is for the hook to say
    if len(targets) != len(outputs):  # several targets of one output: ids may be among them
        targets = [t for t in targets if t is not None and t.dtype.is_floating]
        outputs = outputs * len(targets) if len(outputs) == 1 else []
    for target, output in zip(targets, outputs, strict=False):
        if target is None or output is None or None in (target.shape.rank, output.shape.rank):
            continue
        low, high = sorted((target.shape, output.shape), key=lambda shape: shape.rank)
        if low.rank > 0 and high.rank == low.rank + 1 and high[-1] == 1:
            remedy = (
                "Fit with `y[..., None]`"
                if target.shape.rank < output.shape.rank
                else "Fit with `y[..., 0]`"
            )
            raise ValueError(
                "`y` and `y_pred` must have the same number of axes in `compute_losses`: "
                "together they would broadcast to a matrix of all rows by all rows. "
                f"Received: y of shape {tuple(target.shape)} and y_pred of shape "
                f"{tuple(output.shape)}. {remedy}."
            )


def _require_rowwise(name: str, returned: Any, batch: Batch, y_pred: Any) -> None:
    """Refuses a returned matrix of all rows by all rows, a broadcast gone wrong."""
    shape = getattr(returned, "shape", None)
    if shape is None or tf.TensorShape(shape).rank != 2 or shape[1] == 1:
        return
    leaves = [leaf for leaf in keras.tree.flatten((batch.y, y_pred, batch.x)) if leaf is not None]
    expected = {size for leaf in leaves if leaf.shape.rank for size in leaf.shape[1:]}
    square = shape[1] is None or shape[1] == shape[0]
    if square and shape[1] not in expected:
        raise ValueError(
            f"Loss term {name!r} must have one value (or more) per row. Received: shape "
            f"{tuple(shape)}, all rows by all rows: a `(rows, 1)` and a `(rows,)` were "
            "broadcast. Give both the same shape, or return a `LossTerm`."
        )
