"""What becomes arrays of rows, and what is refused with its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

Arrays: TypeAlias = npt.ArrayLike | Mapping[str, npt.ArrayLike] | Sequence[npt.ArrayLike]
"""An array, or those of several inputs or outputs in a dict, list or tuple."""

_PAD = "Pad them to one length, as by `keras.utils.pad_sequences`, and pass a mask."


def as_arrays(x: Any, y: Any = None, sample_weight: Any = None) -> tuple[Any, ...]:
    """What is given of `x`, `y` and `sample_weight`, as arrays of as many rows.

    Raises:
        TypeError: For what is no dense array of numbers or texts.
        ValueError: For arrays of different lengths, or without a row.
    """
    given = {"x": x, "y": y, "sample_weight": sample_weight}
    rows: dict[str, tuple[int, ...]] = {}
    data = tuple(_converted(part, name, rows) for name, part in given.items() if part is not None)
    lengths = {shape[0] if shape else 0 for shape in rows.values()}
    if len(lengths) > 1 or 0 in lengths:
        received = ", ".join(f"`{name}` of shape {shape}" for name, shape in rows.items())
        raise ValueError(
            f"All arrays must have one entry per row, and at least one row. Received: {received}."
        )
    return data


def checked_ids(ids: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    """The ids as one per row; refuses what cannot be an id."""
    if ids.ndim == 2 and ids.shape[1] == 1:
        ids = ids[:, 0]
    if ids.ndim != 1:
        raise ValueError(f"`{name}` must have one id per row. Received: shape {ids.shape}.")
    if ids.dtype.kind not in "iuOSU":
        raise TypeError(
            f"`{name}` must be integers or strings: floats cannot hold ids exactly. "
            f"Received: dtype {ids.dtype}. Fill in or leave out missing ids, and pass the ids "
            "as int64 or text."
        )
    return ids


def _converted(values: Any, name: str, rows: dict[str, tuple[int, ...]]) -> Any:
    """The same structure of arrays; enters the shape of each under its name."""
    if isinstance(values, Mapping):
        return {key: _converted(value, f"{name}[{key!r}]", rows) for key, value in values.items()}
    if isinstance(values, list | tuple) and any(map(_is_array, values)):
        # A tuple: `tf.data` takes a list for a tensor.
        return tuple(_converted(value, f"{name}[{i}]", rows) for i, value in enumerate(values))
    array = _as_array(values, name)
    rows[name] = array.shape
    return array


def _is_array(value: Any) -> bool:
    """Whether an entry of a list is an array of its own, or has some."""
    if isinstance(value, Mapping):
        return True
    if isinstance(value, list | tuple):
        return any(map(_is_array, value))
    return len(getattr(value, "shape", ())) > 0


def _as_array(values: Any, name: str) -> npt.NDArray[Any]:
    """An array, floats in Keras's `floatx` as `fit` reads them."""
    if isinstance(values, tf.RaggedTensor):
        raise _refusal(name, "a RaggedTensor", "Pass its `to_tensor()`, and a mask.")
    if isinstance(values, tf.SparseTensor) or hasattr(values, "tocsr"):
        raise _refusal(
            name,
            f"a sparse {type(values).__name__}",
            "Make it dense, as by `.toarray()` or `tf.sparse.to_dense`.",
        )
    try:
        array = np.asarray(values)
    except ValueError as error:  # NumPy's for lists of different lengths
        raise _refusal(name, "rows of different lengths", _PAD) from error
    if array.dtype.kind == "f":
        return array.astype(keras.config.floatx(), copy=False)
    if array.dtype.kind == "O":
        return _of_objects(array, name)
    if array.dtype.kind in "Mm":
        raise _refusal(
            name,
            f"dtype {array.dtype}",
            "Pass numbers, as by `.astype('int64')`, or text, as by `.astype(str)`.",
        )
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _of_objects(array: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    """An array of objects that are all texts, or all numbers, which it becomes."""
    kinds = {kind: _KINDS.get(kind, kind) for kind in set(map(type, array.flat))}
    if set(kinds.values()) in ({str}, {bytes}):
        return array
    if set(kinds.values()) == {int}:
        try:
            return array.astype("int64")
        except OverflowError:
            way_out = "Pass them as text."
            raise _refusal(name, "integers of more than 64 bits", way_out) from None
    if set(kinds.values()) <= {int, float}:
        return array.astype(keras.config.floatx())
    if {list, tuple, np.ndarray} & set(kinds):
        raise _refusal(name, "rows of different lengths", _PAD)
    kinds = {kind: int if one is float else one for kind, one in kinds.items()}  # numbers
    found = [kinds[type(value)] for value in array.flat]
    expected = next((kind for kind in found if kind in _PLAIN), None)
    place = next(i for i, kind in enumerate(found) if kind is not expected)
    row = place // max(array[:1].size, 1) if array.ndim else 0
    raise _refusal(
        name,
        f"an array of objects, with {array.flat[place]!r} in row {row}",
        "Fill in or leave out what is missing, and pass an array of one dtype.",
    )


_PLAIN = (str, bytes, int)
_KINDS: dict[type, type] = {np.str_: str, np.bytes_: bytes}
_KINDS |= {np.dtype(code).type: int for code in np.typecodes["AllInteger"]}
_KINDS |= {np.dtype(code).type: float for code in np.typecodes["Float"]}


def _refusal(name: str, received: str, way_out: str) -> TypeError:
    return TypeError(
        f"`{name}` must be a dense array of numbers, or of texts. Received: {received}. {way_out}"
    )
