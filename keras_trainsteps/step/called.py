"""What a call of a network gives: outputs, their masks, and what layers add in the call."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeAlias

import keras
import tensorflow as tf

from keras_trainsteps import compat
from keras_trainsteps.step.in_turn import Parts
from keras_trainsteps.step.terms import as_loss, loss_name, named_loss

Tensors: TypeAlias = dict[str, list[Any]]
"""What a call of a network gives, by kind: `Called.flat`."""


@dataclasses.dataclass
class Called:
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

    def of_share(self, share: tf.Tensor) -> Tensors:
        """Its tensors as those of a micro-batch with this share of the rows: means by parts."""

        def part(one: Any) -> tf.Tensor:
            one = tf.convert_to_tensor(one)
            return as_loss(one) * as_loss(share) if one.shape.rank == 0 else one

        return {kind: [part(one) for one in found] for kind, found in self.flat.items()}

    def parts(self, share: tf.Tensor) -> Parts:
        """Its tensors, of rows and not, as `InTurn` puts them together."""
        every = [one for found in self.of_share(share).values() for one in found]
        return Parts(
            [one for one in every if one.shape.rank != 0],
            [one for one in every if one.shape.rank == 0],
        )

    def of(self, parts: Parts) -> Tensors:
        """What `InTurn` has put together, by kind."""
        joined, added = map(iter, parts)
        return {
            kind: [next(joined if tf.convert_to_tensor(o).shape.rank else added) for o in found]
            for kind, found in self.flat.items()
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
