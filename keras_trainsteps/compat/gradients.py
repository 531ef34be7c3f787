"""Gradients written by hand that no graph outlives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import tensorflow as tf
from tensorflow.python.eager import record


class HandGradient:
    """A gradient written by hand, which no graph outlives.

    `tf.custom_gradient` registers a closure for each call that is traced, under a new name
    and for good, and with the closure its graph: every model leaks the graph of its loss
    (seen in 2.21). Here a gradient is registered once, and all that it needs goes through the
    graph. To differentiate it again raises, instead of being wrong, unless it may be.

    Args:
        name: A name that no other gradient has.
        gradient: `gradient(*upstream, *inputs, *saved)` with a slope for each input: one
            tensor, or a sequence.
        outputs: The number of tensors that are differentiated.
        inputs: The number of tensors that they are differentiated by.
        twice: Whether `gradient` may be differentiated in its turn.
    """

    def __init__(
        self,
        name: str,
        gradient: Callable[..., Any],
        *,
        outputs: int = 1,
        inputs: int = 1,
        twice: bool = False,
    ) -> None:
        self.name = f"keras_trainsteps.{name}"
        self.gradient = gradient
        self.outputs, self.inputs, self.twice = outputs, inputs, twice
        tf.RegisterGradient(self.name)(self._of_operation)

    def __call__(
        self,
        compute: Callable[..., tuple[Sequence[tf.Tensor], Sequence[tf.Tensor]]],
        *inputs: Any,
    ) -> list[tf.Tensor]:
        """The outputs of `compute(*inputs) -> (outputs, saved)`."""
        inputs = tuple(tf.convert_to_tensor(value) for value in inputs)
        with record.stop_recording():
            outputs, saved = compute(*inputs)
            outputs = _identities(self.name, [*outputs, *inputs, *saved])[: self.outputs]

        def slopes(*upstream: Any) -> list[tf.Tensor]:
            return self._slopes(upstream, inputs, saved)

        record.record_operation(self.name, outputs, inputs, slopes)
        return outputs

    def _of_operation(self, operation: tf.Operation, *upstream: Any) -> list[tf.Tensor | None]:
        first, last = self.outputs, self.outputs + self.inputs
        given = list(operation.inputs)
        slopes = self._slopes(upstream[:first], given[first:last], given[last:])
        return [*[None] * first, *slopes, *[None] * (len(given) - last)]

    def _slopes(
        self, upstream: Sequence[Any], inputs: Sequence[tf.Tensor], saved: Sequence[tf.Tensor]
    ) -> list[tf.Tensor]:
        upstream = [tf.convert_to_tensor(value) for value in upstream]  # of sparse ones too
        slopes = self.gradient(*upstream, *inputs, *saved)
        slopes = list(slopes) if isinstance(slopes, (list, tuple)) else [slopes]
        if self.twice:
            return slopes
        sources = [*upstream, *inputs]
        with record.stop_recording():
            final = _identities(_FINAL, [*slopes, *sources])[: len(slopes)]
        record.record_operation(_FINAL, final, [*slopes, *sources], _refuse_second_derivative)
        return final


_FINAL = "keras_trainsteps.final"


@tf.RegisterGradient(_FINAL)
def _refuse_second_derivative(*_: Any) -> NoReturn:
    raise NotImplementedError(
        "This loss has a first derivative only: its gradient is written by hand. Received: a "
        "request for the derivative of that gradient, as of nested tapes, a gradient penalty "
        "or a Hessian. Leave this loss out of the inner gradient."
    )


def _identities(name: str, values: list[tf.Tensor]) -> list[tf.Tensor]:
    """The values as outputs of one operation, whose gradient is registered as `name`."""
    if tf.executing_eagerly():
        return [tf.identity(value) for value in values]
    with tf.compat.v1.get_default_graph().gradient_override_map({"IdentityN": name}):
        return list(tf.identity_n(values))
