"""Which operations run or are traced, and the variables that they use."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tensorflow.python.framework import op_callbacks, op_def_registry, ops

Seen = Callable[[str, Iterable[Any]], None]
"""What is told of each operation: its kind and its inputs."""


@contextlib.contextmanager
def operations_seen(see: Seen) -> Iterator[None]:
    """Tells of each operation that runs eagerly, or is traced, in this thread.

    TensorFlow has a way to watch operations for its debugger, which it keeps private (seen
    in 2.21).
    """

    def told(kind: Any, inputs: Any, *_: Any, **__: Any) -> None:
        see(kind.decode() if isinstance(kind, bytes) else str(kind), inputs)

    op_callbacks.add_op_callback(told)
    try:
        yield
    finally:
        op_callbacks.remove_op_callback(told)


def draws_by_itself(kind: str) -> bool:
    """Whether an operation draws random numbers from a state that nobody can read.

    So do those of `tf.random` that are not stateless; their definitions have two seeds.
    """
    definition = op_def_registry.get(kind)
    if definition is None or not definition.is_stateful:
        return False
    return {"seed", "seed2"} <= {attribute.name for attribute in definition.attr}


class VariableInUse:
    """A variable by its resource, which is all that an operation knows of it.

    Attributes:
        handle: Its resource.
        shape: Its shape.
        dtype: The name of its dtype.
    """

    def __init__(self, handle: Any) -> None:
        self.handle = handle
        found = handle._handle_data.shape_and_type[0]
        self._type = tf.dtypes.as_dtype(found.dtype)
        self.shape = tuple(tf.TensorShape(found.shape).as_list())
        self.dtype = self._type.name

    def __array__(
        self, dtype: npt.DTypeLike | None = None, copy: bool | None = None
    ) -> npt.NDArray[Any]:
        value = tf.raw_ops.ReadVariableOp(resource=self.handle, dtype=self._type)
        return np.asarray(value, dtype=dtype)

    def assign(self, value: npt.ArrayLike) -> None:
        """Gives it another value."""
        given = tf.convert_to_tensor(value, self._type)
        tf.raw_ops.AssignVariableOp(resource=self.handle, value=given)


def handles_of(inputs: Iterable[Any]) -> Iterator[Any]:
    """The resources of variables among the inputs of an operation, outside of all graphs."""
    for tensor in inputs:
        if getattr(tensor, "dtype", None) == tf.resource:
            handle = _outside_of_graphs(tensor)
            if handle is not None and handle._handle_data and handle._handle_data.is_set:
                yield handle


def handles_of_variable(variable: Any) -> list[Any]:
    """The resources of a variable of Keras or TensorFlow, one on each device."""
    if isinstance(variable, VariableInUse):
        return [variable.handle]
    raw = variable.value if isinstance(variable, keras.Variable) else variable
    return [one.handle for one in getattr(raw, "values", (raw,))]


def _outside_of_graphs(tensor: Any) -> Any:
    """What a graph, and those around it, captured; `None` for an argument of a function."""
    while not isinstance(tensor, ops.EagerTensor):
        captures = getattr(tensor.graph, "captures", ())
        outer = [outside for outside, inside in captures if inside is tensor]
        if not outer:
            return None
        tensor = outer[0]
    return tensor
