"""Flat rows, or padded lists: which shapes fit each other."""

from __future__ import annotations

import tensorflow as tf

from keras_trainsteps import compat
from keras_trainsteps.step.terms import FAILED


def as_rows(value: tf.Tensor, name: str, fits: str) -> tf.Tensor:
    """What has one entry per row, or per item of a list, flat."""
    shape = value.shape
    if fits == "rows" and shape.rank != 1 and not (shape.rank == 2 and shape[1] == 1):
        raise ValueError(
            f"`{name}` must have one entry a row, shape (rows,) or (rows, 1), beside "
            f"`query_ids`. Received: shape {tuple(shape)}. "
            "For padded lists leave `query_ids` out and pass `mask`."
        )
    return tf.reshape(value, (-1,))


def require_lists(y_true: tf.Tensor, y_pred: tf.Tensor) -> None:
    """Refuses labels and scores that are no padded lists of one shape."""
    for name, value in (("y_true", y_true), ("y_pred", y_pred)):
        if value.shape.rank != 2:
            raise ValueError(
                f"`{name}` must be padded lists, shape (queries, list_size), when there "
                f"are no `query_ids`. Received: shape {tuple(value.shape)}. "
                "For flat rows pass `query_ids`, one id a row."
            )
    if not y_true.shape.is_compatible_with(y_pred.shape):
        raise ValueError(
            "`y_true` and `y_pred` must have the same shape. "
            f"Received: {tuple(y_true.shape)} and {tuple(y_pred.shape)}."
        )


def like_labels(value: tf.Tensor, labels: tf.TensorShape, name: str, fits: str) -> tf.Tensor:
    """A mask, or weights, refused unless they have one entry per item of the lists."""
    if fits == "lists" and not (value.shape.rank == 2 and value.shape.is_compatible_with(labels)):
        raise ValueError(
            f"`{name}` must have the shape of the lists, {tuple(labels)}, one entry an "
            f"item. Received: shape {tuple(value.shape)}.{_for_lists(value, name)}"
        )
    return value


def _for_lists(value: tf.Tensor, name: str) -> str:
    of_lists = (
        name == "sample_weight"
        and value.shape.rank in (1, 2)
        and value.shape.as_list()[1:] in ([], [1])
    )
    return " For one weight per list pass `query_weight`." if of_lists else ""


def of_one_length(flat: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """`flat`, refused when its lengths differ: at once if they are known, else when run."""
    lengths = {name: value.shape[0] for name, value in flat.items()}
    known = {length for length in lengths.values() if length is not None}
    rule = "Labels, scores, ids, mask and weights must have one entry a row each."
    if len(known) > 1:
        listed = ", ".join(f"`{name}` {length}" for name, length in lengths.items())
        raise ValueError(f"{rule} Received rows: {listed}.")
    if None not in lengths.values() or compat.in_xla():
        return flat
    sizes = tf.stack([tf.size(value) for value in flat.values()])
    check = tf.debugging.Assert(
        tf.reduce_all(sizes == sizes[0]),
        [f"{FAILED}{rule} Received: other numbers of rows for {', '.join(flat)}."],
    )
    with tf.control_dependencies([check]):
        return {name: tf.identity(value) for name, value in flat.items()}
