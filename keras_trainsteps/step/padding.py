"""Rows that fill a batch up to a fixed size, and count nowhere.

A program of XLA has fixed shapes, and whole queries have not. `data.query_batches(pad=True)`
fills its batches with copies of a row, and says in one entry of `x` which rows are real. The
step leaves the others out of every loss, metric, weight and log.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
import tensorflow as tf

from keras_trainsteps import compat
from keras_trainsteps.step.running import Running


def require_rowwise_network(layers: Iterable[keras.layers.Layer], row_mask: Any) -> None:
    """Refuses layers that mix the rows of a training batch: what fills it up would count."""
    if row_mask is None:
        return
    mixing = [
        layer.name
        for layer in layers
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
    ]
    if mixing:
        raise ValueError(
            "Layers must not mix the rows of a batch that is filled up by `pad=True`. "
            f"Received: {mixing}, a BatchNormalization, which would normalize by the rows that "
            "do not count. Use LayerNormalization, or fit without `pad=True`."
        )


def masked_outputs(y_pred: Any, row_mask: tf.Tensor | None) -> Any:
    """Outputs with the mask of the rows that count, which Keras's losses read.

    Raises:
        ValueError: For outputs that are not one per row, or have a mask of their own.
    """
    if row_mask is None:
        return y_pred

    def masked(output: Any) -> Any:
        if output is None:
            return None
        rank, own_mask = output.shape.rank, compat.mask_of(output) is not None
        if own_mask or not rank or not output.shape[:1].is_compatible_with(row_mask.shape[:1]):
            raise ValueError(
                "Outputs must be one per row, and without a mask of Keras, where batches are "
                f"filled up by `pad=True`. Received: shape {tuple(output.shape)}"
                f"{' and a mask' if own_mask else ''}. Fit without `pad=True`."
            )
        axes = max(rank - 1, 1)
        rows = tf.reshape(row_mask, (-1, *[1] * (axes - 1)))
        return compat.with_mask(output, tf.broadcast_to(rows, tf.shape(output)[:axes]))

    return keras.tree.map_structure(masked, y_pred)


def update_metrics(
    model: keras.Model, y: Any, y_pred: Any, sample_weight: Any, row_mask: tf.Tensor
) -> None:
    """Updates the metrics of `compile` by the rows that count: the others weigh 0."""
    metrics = compat.compile_metrics(model)
    if metrics is None:
        return
    counted = tf.cast(row_mask, keras.config.floatx())

    def weights(given: Any) -> Any:
        if given is None:
            return counted
        rows = tf.reshape(row_mask, (-1, *[1] * (given.shape.rank - 1)))
        return tf.where(rows, given, tf.zeros_like(given))

    weighted = counted
    if sample_weight is not None:
        weighted = keras.tree.map_structure(weights, sample_weight)
    compat.updated_by_two_weights(metrics, y, y_pred, counted, weighted)


def require_reads_mask(what: str, value: Any, step: Running | None) -> None:
    """Refuses what is reduced from the rows of a batch without a look at which of them count.

    Eagerly nobody can see what a tensor is made of.
    """
    if step is None or step.row_mask is None:
        return
    sources = keras.tree.flatten((step.x, step.y, step.y_pred))
    sources = [one for one in sources if tf.is_tensor(one) and one is not step.row_mask]
    if compat.values_flow(sources, value) and not compat.values_flow([step.row_mask], value):
        raise ValueError(
            f"{what} must leave out the rows that fill a batch up. Received: batches of "
            "`pad=True`, and one value of all their rows. Return one value per row, give "
            "`mask=x[data.ROW_MASK]` to what sums them, or fit without `pad=True`."
        )
