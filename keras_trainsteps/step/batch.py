"""A batch as the step sees it."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import tensorflow as tf


class Batch(NamedTuple):
    """The parts of a batch, as tensors."""

    x: Any
    y: Any
    sample_weight: Any

    @classmethod
    def of(cls, data: Any) -> Batch:
        """Unpacks what `fit` hands to a step."""
        return cls(*tensors(keras.utils.unpack_x_y_sample_weight(data)))

    def rows(self, y_pred: Any = None, row_mask: tf.Tensor | None = None) -> tf.Tensor:
        """The number of rows that count: of the targets, or of the output without them.

        Keras takes it from the first entry of `x`, which may be a side input of another
        length.
        """
        if row_mask is not None:
            return tf.reduce_sum(tf.cast(row_mask, tf.int32))
        for leaf in keras.tree.flatten((self.y, y_pred, self.x)):
            if leaf is not None and leaf.shape.rank != 0:
                return tf.shape(leaf)[0]
        return tf.constant(1)


def tensors(structure: Any) -> Any:
    """Everything in a structure as tensors; `None` stays."""

    def tensor(value: Any) -> Any:
        return value if value is None or tf.is_tensor(value) else tf.convert_to_tensor(value)

    return keras.tree.map_structure(tensor, structure)
