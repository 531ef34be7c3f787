"""A batch as the step sees it, and every check of it that needs no loss."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_trainsteps import compat
from keras_trainsteps.step.terms import FAILED, as_loss


class Batch(NamedTuple):
    """The parts of a batch, as tensors."""

    x: Any
    y: Any
    sample_weight: Any

    @classmethod
    def of(cls, data: Any) -> Batch:
        """Unpacks what `fit` hands to a step."""
        return cls(*tensors(keras.utils.unpack_x_y_sample_weight(data)))

    def rows(self, y_pred: Any) -> tf.Tensor:
        """The number of rows: of the targets, or of the output where there are none.

        Keras takes it from the first entry of `x`, which may be a side input of another
        length.
        """
        for leaf in keras.tree.flatten((self.y, y_pred, self.x)):
            if leaf is not None and leaf.shape.rank != 0:
                return tf.shape(leaf)[0]
        return tf.constant(1)

    def for_hook(self, y_pred: Any) -> tuple[Any, Any, Any, tf.Tensor | None]:
        """`x, y, y_pred, sample_weight` as `compute_losses` takes them."""
        require_one_shape(self.y, y_pred)
        y_pred = keras.tree.map_structure(_wide, y_pred)
        outputs = keras.tree.flatten(y_pred)
        double = any(output.dtype == tf.float64 for output in outputs)
        y = keras.tree.map_structure(
            lambda target: _float(target, tf.float64 if double else as_loss(0.0).dtype),
            self.y,
        )
        return self.x, y, y_pred, self.row_weight()

    def row_weight(self) -> tf.Tensor | None:
        """`sample_weight` as one tensor; Keras copies one array for each target in a dict."""
        leaves = [leaf for leaf in keras.tree.flatten(self.sample_weight) if leaf is not None]
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


def runtime_checks(batch: Batch) -> list[tf.Operation]:
    """Checks of values, which only the running step can see. XLA leaves them out."""
    weights = [leaf for leaf in keras.tree.flatten(batch.sample_weight) if leaf is not None]
    checks = [
        tf.debugging.Assert(
            tf.reduce_all(as_loss(weight) >= 0),
            [
                f"{FAILED}`sample_weight` must be numbers that are not negative. Received: "
                "negative weights or NaN. To leave a row out, give it a weight of 0."
            ],
        )
        for weight in weights
    ]
    return [check for check in checks if check is not None]


def as_value_error(error: tf.errors.InvalidArgumentError) -> ValueError | None:
    """The `ValueError` that a failed check of ours stands for."""
    found = re.search(rf"{FAILED}(.*?)('|\]|\n|$)", error.message or "")
    return ValueError(found.group(1).strip()) if found else None


def require_batch_size(batch_size: Any) -> None:
    """Refuses a batch size below 1, for which Keras takes its default or worse."""
    if batch_size is not None and batch_size < 1:
        raise ValueError(
            f"`batch_size` must be an integer of at least 1, or `None` for 32. "
            f"Received: {batch_size!r}."
        )


def require_targets_of_weights(y: Any, sample_weight: Any) -> None:
    """Refuses weights without targets, which Keras drops on the way to the step."""
    if sample_weight is not None and y is None:
        raise ValueError(
            "`sample_weight` weighs the loss of targets. Received: weights without `y`, which "
            "Keras would drop. Pass the weights as an entry of `x`, and name it in the loss."
        )


def warn_of_cut_queries(name: str, query_ids: Any, batch_size: int, shuffle: bool) -> None:
    """Warns of queries of arrays that `fit` will scatter over several batches."""
    cut, queries = _cut_queries(query_ids, batch_size, shuffle)
    if cut:
        warnings.warn(
            f"{cut} of {queries} queries of `{name}` have rows that `fit` puts into "
            "different batches: pairs between these are not trained on. Pass "
            "`data.query_batches` instead.",
            stacklevel=4,
        )


def require_whole_queries(
    names: Iterable[tuple[str, str | None]], x: Any, batch_size: int | None, shuffle: bool
) -> None:
    """Refuses arrays whose batches cut queries of which a metric is the mean.

    Args:
        names: For each such metric the names of its query ids and of its mask, or `None`.
        x: The `x` of `fit` or `evaluate`; only a dict of arrays can be looked at.
        batch_size: As in Keras.
        shuffle: Whether rows are drawn at random.
    """
    for name, mask in names:
        ids = x.get(name) if isinstance(x, Mapping) else None
        if not hasattr(ids, "__array__"):
            continue
        kept = None if mask is None else x.get(mask)
        cut, queries = _cut_queries(ids, batch_size or 32, shuffle, kept)
        if cut:
            raise ValueError(
                "A query must come whole in one batch: a metric is a mean over queries. "
                f"Received: rows of {cut} of {queries} queries of `{name}` in two batches or "
                "more. Make batches with `data.query_batches`, or set `split_queries` of "
                "the metric to count_parts."
            )


def _cut_queries(
    query_ids: Any, batch_size: int, shuffle: bool, mask: Any = None
) -> tuple[int, int]:
    """How many queries of arrays come in several batches, and how many there are."""
    if len(query_ids) <= batch_size:
        return 0, 0
    ids = np.asarray(query_ids).reshape(-1)
    place = np.arange(len(ids)) if shuffle else np.arange(len(ids)) // batch_size
    if mask is not None:
        kept = np.asarray(mask).reshape(-1).astype(bool)
        ids, place = ids[kept], place[kept]
    queries, query = np.unique(ids, return_inverse=True)
    pieces = np.unique(np.stack([query, place]), axis=1)[0]
    return int(np.sum(np.bincount(pieces) > 1)), len(queries)


def require_xla_inputs(x: Any) -> None:
    """Refuses strings under XLA, which has none."""
    if not compat.in_xla() or not isinstance(x, Mapping):
        return
    for name, value in x.items():
        if getattr(value, "dtype", None) == tf.string:
            raise ValueError(
                f"Entry {name!r} of `x` must not be strings under XLA, which has none. "
                "Received: strings with `jit_compile=True`. Turn them into integers before "
                "`fit`, or compile with `jit_compile=False`."
            )


def require_one_target(y: Any, y_pred: Any) -> None:
    """Refuses a dict of several targets beside one output, where Keras takes any."""
    if isinstance(y, Mapping) and len(y) > 1 and not keras.tree.is_nested(y_pred):
        raise ValueError(
            "Compiled metrics need one target for the one output of the model. Received: "
            f"`y` with entries {sorted(map(str, y))}, of which Keras would take the first. "
            "Pass the target alone and the others as entries of `x`."
        )


def require_one_shape(y: Any, y_pred: Any) -> None:
    """Refuses `(rows,)` beside `(rows, 1)`, whose difference has shape `(rows, rows)`."""
    targets, outputs = keras.tree.flatten(y), keras.tree.flatten(y_pred)
    if len(targets) != len(outputs):  # several targets of one output: ids may be among them
        targets = [t for t in targets if t is not None and t.dtype.is_floating]
        outputs = outputs * len(targets) if len(outputs) == 1 else []
    for target, output in zip(targets, outputs, strict=False):
        if target is None or None in (target.shape.rank, output.shape.rank):
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


def require_rowwise(name: str, returned: Any, batch: Batch, y_pred: Any) -> None:
    """Refuses a returned matrix of all rows by all rows, a broadcast gone wrong."""
    shape = getattr(returned, "shape", None)
    if shape is None or tf.TensorShape(shape).rank != 2 or shape[1] == 1:
        return
    leaves = [leaf for leaf in keras.tree.flatten((batch.y, y_pred, batch.x)) if leaf is not None]
    expected = {size for leaf in leaves if leaf.shape.rank for size in leaf.shape[1:]}
    square = shape[1] is None or shape[1] == shape[0]
    if square and shape[1] not in expected:
        raise ValueError(
            f"Loss term {name!r} must have one value (or more) a row. Received: shape "
            f"{tuple(shape)}, all rows by all rows: a `(rows, 1)` and a `(rows,)` were "
            "broadcast. Give both the same shape, or return a `LossTerm`."
        )


def tensors(structure: Any) -> Any:
    """Everything in a structure as tensors; `None` stays."""

    def tensor(value: Any) -> Any:
        return value if value is None or tf.is_tensor(value) else tf.convert_to_tensor(value)

    return keras.tree.map_structure(tensor, structure)


def _float(value: Any, dtype: tf.DType) -> Any:
    is_float = tf.is_tensor(value) and value.dtype.is_floating
    return tf.cast(value, dtype) if is_float else value


def _wide(output: Any) -> Any:
    """An output of float16 or bfloat16 in float32, with its mask."""
    if not output.dtype.is_floating or output.dtype.size >= 4:
        return output
    wide = tf.cast(output, tf.float32)
    mask = getattr(output, "_keras_mask", None)
    if mask is not None:
        wide._keras_mask = mask
    return wide
