"""Sample weights of compiled metrics, beside outputs with a mask."""

from __future__ import annotations

from typing import Any

import keras

from keras_trainsteps import compat
from keras_trainsteps.step.terms import weights_like


def beside_masks(sample_weight: Any, y_pred: Any) -> Any:
    """The weights with the axes of the masks that Keras multiplies them by.

    Left to broadcast, one weight per row beside a mask of `(rows, steps)` raises, or is one
    per step where both numbers agree (seen in 3.15.1).
    """
    outputs, weights = keras.tree.flatten(y_pred), keras.tree.flatten(sample_weight)
    masks = [compat.mask_of(output) for output in outputs]
    if sample_weight is None or all(mask is None for mask in masks):
        return sample_weight
    if len(weights) == 1:  # of all outputs
        weights = weights * len(outputs)
    if len(weights) != len(outputs):
        return sample_weight
    aligned = [
        weight
        if weight is None or mask is None
        else weights_like(weight, mask.shape, "the metrics of `compile`")
        for weight, mask in zip(weights, masks, strict=True)
    ]
    if keras.tree.is_nested(sample_weight) and len(keras.tree.flatten(sample_weight)) > 1:
        return keras.tree.pack_sequence_as(sample_weight, aligned)
    return aligned if len(aligned) > 1 else aligned[0]
