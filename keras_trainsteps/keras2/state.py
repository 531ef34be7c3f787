"""Which metrics a step has updated, and whether a value comes from any: by state, not identity.

While a step is traced, what it writes and what a value is computed from stand in the graph.
In eager mode the variables themselves show what has changed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_trainsteps.step.batch import Batch


class StateBefore:
    """The state of metrics before a step.

    Args:
        metrics: The metrics of the model. Those that a step creates count as updated.
    """

    def __init__(self, metrics: Iterable[keras.metrics.Metric]) -> None:
        self._known = list(metrics)
        self._values: dict[int, list[np.ndarray]] = {}
        if tf.executing_eagerly():
            self._values = {id(m): [v.numpy() for v in m.variables] for m in self._known}

    def untouched(self, metrics: Iterable[keras.metrics.Metric] | None = None) -> set[str]:
        """The names of the metrics that the step has not updated, with no namesake that was.

        Args:
            metrics: The metrics to ask about. Default: those that were there before.
        """
        metrics = self._known if metrics is None else list(metrics)
        updated = {metric.name for metric in metrics if self._is_updated(metric)}
        return {metric.name for metric in metrics} - updated

    def _is_updated(self, metric: keras.metrics.Metric) -> bool:
        if all(metric is not known for known in self._known):
            return True
        if tf.executing_eagerly():
            before = self._values[id(metric)]
            now = [variable.numpy() for variable in metric.variables]
            return len(now) != len(before) or any(
                not np.array_equal(one, other, equal_nan=True)
                for one, other in zip(now, before, strict=True)
            )
        return bool(_written(metric.variables))


def is_of_batch_alone(value: Any, batch: Batch, *, any_updated: bool) -> bool:
    """Whether a returned value is computed from the batch and kept in no variable.

    Constants, variables and what is computed from them are not of the batch. In eager mode
    no value says what it is computed from: there it is refused where the step has updated
    no metric at all.
    """
    if isinstance(value, (keras.Variable, tf.Variable)) or not tf.is_tensor(value):
        return False
    if tf.executing_eagerly():
        return not any_updated
    leaves = tf.nest.flatten(tuple(batch), expand_composites=True)
    return _reaches(value, {id(leaf.op) for leaf in leaves if tf.is_tensor(leaf)})


def _reaches(tensor: tf.Tensor, ends: set[int]) -> bool:
    """Whether data flows from one of these operations to `tensor`; calls are not looked into."""
    seen: set[int] = set()
    open_ops = [tensor.op]
    while open_ops:
        op = open_ops.pop()
        if id(op) in ends:
            return True
        if id(op) in seen or _is_call(op):
            continue
        seen.add(id(op))
        open_ops += [source.op for source in op.inputs if source.dtype != tf.resource]
    return False


def _written(variables: Iterable[keras.Variable]) -> bool:
    """Whether the graph that is being traced writes one of these variables."""
    graph = tf.compat.v1.get_default_graph()
    handles = {id(variable.value.handle) for variable in variables}
    inside = {
        id(inner) for outer, inner in getattr(graph, "captures", ()) if id(outer) in handles
    }
    return any(
        id(source) in inside and op.type != "ReadVariableOp"
        for op in graph.get_operations()
        for source in op.inputs
    )


def _is_call(op: tf.Operation) -> bool:
    """Whether an operation runs another graph."""
    return any(op.type.endswith(kind) for kind in ("Call", "If", "While", "Case"))
