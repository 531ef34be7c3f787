"""Arguments of losses and metrics: their types, what is refused, and how they are shown."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Mapping
from typing import Any, TypeAlias, get_args

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from keras_trainsteps import compat
from keras_trainsteps.step.terms import FAILED

TensorLike: TypeAlias = tf.Tensor | keras.Variable | npt.ArrayLike
"""What becomes a tensor: tensors, variables, arrays, and lists or numbers that make one."""


def require_choice(name: str, value: Any, choices: Any) -> None:
    """Refuses a value that is none of a `Literal`'s."""
    if value not in get_args(choices):
        listed = ", ".join(f"'{choice}'" for choice in get_args(choices))
        raise ValueError(f"`{name}` must be one of {listed}. Received: {value!r}.")


def require_positive(name: str, value: Any) -> None:
    """Refuses a number that is not above 0; tensors are taken as they are."""
    if tf.is_tensor(value) or isinstance(value, keras.Variable):
        return
    if not (isinstance(value, (int, float)) and 0 < value < float("inf")):
        raise ValueError(f"`{name}` must be a finite number above 0. Received: {value!r}.")


def as_integer(name: str, value: Any) -> int:
    """An integer, of NumPy or not, as an `int`; anything else is refused."""
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None:
        raise TypeError(f"`{name}` must be an integer. Received: {value!r}.")
    return number


def as_float(value: Any, dtype: tf.DType) -> tf.Tensor:
    """`value` as a tensor of `dtype`; TensorFlow itself makes 0.1 a float32 on the way."""
    if isinstance(value, (int, float, list, tuple)):
        value = np.asarray(value)
    return tf.cast(tf.convert_to_tensor(value), dtype)


def refuse(value: tf.Tensor, broken: tf.Tensor, what: str, rule: str, way_out: str) -> tf.Tensor:
    """Numbers, refused where they are `broken`: at once if they can be seen, else when run.

    XLA cannot refuse: there floats become NaN, so that what is made of them shows it.
    """
    if compat.in_xla():
        if value.dtype.is_floating:
            value = tf.where(broken, tf.constant(float("nan"), value.dtype), value)
        return value
    if tf.executing_eagerly():
        if bool(tf.reduce_any(broken)):
            received = tf.boolean_mask(value, broken)[0].numpy()
            raise ValueError(f"{rule}. Received: a {what} of {received}. {way_out}")
        return value
    message = f"{FAILED}{rule}. Received: another {what}. {way_out}"
    with tf.control_dependencies([tf.debugging.Assert(~tf.reduce_any(broken), [message])]):
        return tf.identity(value)


def repr_of(obj: Any, arguments: Mapping[str, Any]) -> str:
    """The call that makes `obj`, for a log: `NDCG(query_ids='query_id', k=10)`.

    Keywords are shown where they differ from their defaults; what may also be given by
    position is shown unless it is `None`.

    Args:
        obj: An object, whose constructor takes `arguments`.
        arguments: The values it was made with, by name. Others count as defaults.
    """
    shown = []
    for name, parameter in inspect.signature(type(obj)).parameters.items():
        default = parameter.default
        value = arguments.get(name, default)
        if value is parameter.empty or (value is None and default is None):
            continue
        keyword_only = parameter.kind is parameter.KEYWORD_ONLY
        if not (keyword_only and type(value) is type(default) and value == default):
            shown.append(f"{name}={_shown(value)}")
    return f"{type(obj).__name__}({', '.join(shown)})"


def _shown(value: Any) -> str:
    """A value in few words: functions by name, weights by path, no addresses in memory."""
    if type(value) in (list, tuple):
        listed = ", ".join(map(_shown, value))
        return f"[{listed}]" if isinstance(value, list) else f"({listed})"
    if isinstance(value, keras.Variable):
        return repr(value.path)
    if inspect.isroutine(value):
        return value.__name__
    text = repr(value)
    return f"{type(value).__name__}(...)" if " at 0x" in text else text
