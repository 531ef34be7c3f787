"""Arguments of losses and metrics: their types, what is refused, and how they are shown."""

from __future__ import annotations

import inspect
import numbers
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
    if not isinstance(value, str) or value not in get_args(choices):
        listed = ", ".join(f"'{choice}'" for choice in get_args(choices))
        raise ValueError(f"`{name}` must be one of {listed}. Received: {value!r}.")


def require_positive(name: str, value: Any) -> None:
    """Refuses a number that is not above 0; tensors are taken as they are."""
    if tf.is_tensor(value) or isinstance(value, keras.Variable):
        return
    if not (is_number(value) and 0 < value < float("inf")):
        raise ValueError(f"`{name}` must be a finite number above 0. Received: {value!r}.")


def require_not_negative(name: str, value: Any) -> None:
    """Refuses anything but a finite number of at least 0."""
    if not (is_number(value) and 0 <= value < float("inf")):
        raise ValueError(f"`{name}` must be a finite number, not negative. Received: {value!r}.")


def require_plain(**options: Any) -> None:
    """Refuses tensors and variables among numbers that no gradient is taken by."""
    for name, value in options.items():
        if tf.is_tensor(value) or isinstance(value, keras.Variable):
            raise TypeError(
                f"`{name}` must be a plain number: no gradient is taken by it. Received: "
                f"{type(value).__name__}. Pass `float({name})`."
            )


def is_number(value: Any) -> bool:
    """Whether a value is a real number, of NumPy or not."""
    return isinstance(value, (numbers.Real, np.floating)) and not isinstance(
        value, (bool, np.bool_)
    )


def as_integer(name: str, value: Any) -> int:
    """An integer, of NumPy or not, as an `int`; anything else is refused."""
    try:
        number = None if isinstance(value, (bool, np.bool_)) else operator.index(value)
    except TypeError:
        number = None
    if number is None:
        raise TypeError(f"`{name}` must be an integer. Received: {value!r}.")
    return number


def as_count(name: str, value: Any) -> int:
    """An integer of at least 1, of NumPy or not, as an `int`; anything else is refused."""
    try:
        number = as_integer(name, value)
    except TypeError:
        number = 0
    if number < 1:
        raise ValueError(f"`{name}` must be an integer of at least 1. Received: {value!r}.")
    return number


def as_plain(value: Any) -> Any:
    """A NumPy scalar as the number of Python that it is, which can be saved."""
    return value.item() if isinstance(value, np.generic) else value


def as_tensor(
    name: str, value: Any, *, of: str = "real numbers", text: bool = False, wide: bool = False
) -> tf.Tensor:
    """`value` as a dense tensor of real numbers; anything else is refused by name.

    Args:
        name: The argument that it was given as.
        value: What was given.
        of: What it should hold, in words.
        text: Whether strings are taken, too.
        wide: Whether numbers of Python become float64, of which TensorFlow makes float32.
    """
    if isinstance(value, tf.Tensor):
        refused = None
    else:
        refused = _no_array(value, text)
        if refused is None:
            is_python = isinstance(value, (int, float, list, tuple))
            value = tf.convert_to_tensor(np.asarray(value) if wide and is_python else value)
    if refused is None and value.dtype == tf.string and not text:
        refused = "text", "Turn it into numbers."
    if refused is None and value.dtype.is_complex:
        refused = "complex numbers", "Pass their real part, or their size."
    if refused is not None:
        received, way_out = refused
        raise TypeError(
            f"`{name}` must be a dense array or tensor of {of}. Received: {received}. {way_out}"
        )
    return value


def as_float(name: str, value: Any, dtype: tf.DType) -> tf.Tensor:
    """`value` as a tensor of `dtype`; anything but real numbers is refused."""
    return tf.cast(as_tensor(name, value, wide=True), dtype)


def as_mask(name: str, value: Any) -> tf.Tensor:
    """`value` as bool; numbers other than 0 and 1 are refused, but for XLA."""
    mask = as_tensor(name, value, of="bools")
    if mask.dtype == tf.bool:
        return mask
    rule, way_out = f"`{name}` must be bool, or of 0 and 1", "Compare first: `mask > 0.5`."
    return tf.cast(refuse(mask, (mask != 0) & (mask != 1), "value", rule, way_out), tf.bool)


def _no_array(value: Any, text: bool) -> tuple[str, str] | None:
    """What a value is, and what to do about it, if it is no array of numbers (or strings)."""
    if value is None:
        return "None", "Pass one entry per row."
    if isinstance(value, Mapping):
        return f"a dict of {sorted(map(str, value))}", "Pass one of its entries."
    if isinstance(value, tf.RaggedTensor):
        return "a RaggedTensor", "Pass `.to_tensor()` with a `mask`, or `.flat_values` with ids."
    if isinstance(value, tf.SparseTensor):
        return "a SparseTensor", "Pass `tf.sparse.to_dense(...)`."
    if hasattr(value, "tocsr"):
        return f"a sparse {type(value).__name__}", "Pass `.toarray()`."
    if isinstance(value, keras.KerasTensor):
        return "a KerasTensor", "Add a loss of the tensors of a graph with `model.add_loss`."
    if isinstance(value, (keras.Variable, tf.Variable)) or (
        isinstance(value, (list, tuple)) and any(map(tf.is_tensor, value))
    ):
        return None
    try:
        array = np.asarray(value)
    except ValueError:
        return "lists of different lengths", "Fill them up, and pass a `mask`."
    if array.dtype.kind in "mM":
        seconds = "`values.astype('datetime64[s]').astype('int64')`"
        return "dates and times", f"Pass them as integers: {seconds}."
    if array.dtype.kind in "SU":
        return None if text else ("text", "Turn it into numbers.")
    if array.dtype.kind in "OV":
        kinds = sorted({type(entry).__name__ for entry in array.flat})
        if text and set(kinds) <= {"str", "bytes"}:
            return None
        return (
            f"an array of objects ({', '.join(kinds[:4])})",
            "Pass an array of one plain dtype.",
        )
    return None


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
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_shown, value))}]"
    if isinstance(value, keras.Variable):
        return repr(value.path)
    if inspect.isroutine(value):
        return value.__name__
    text = repr(value)
    return f"{type(value).__name__}(...)" if " at 0x" in text else text
