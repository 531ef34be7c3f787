"""Named arrays in one file, in the format of safetensors. Nothing in it is code."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy

Arrays = dict[str, npt.NDArray[Any]]

# Safetensors ships this function without types (seen in 0.8.0).
_deserialize: Callable[[bytes], list[tuple[str, dict[str, Any]]]] = safetensors.deserialize

# `safetensors.numpy.load` knows neither bfloat16 nor the floats of 8 bits (seen in 0.8.0).
_DTYPES = {
    "BOOL": np.bool_,
    "U8": np.uint8,
    "U16": np.uint16,
    "U32": np.uint32,
    "U64": np.uint64,
    "I8": np.int8,
    "I16": np.int16,
    "I32": np.int32,
    "I64": np.int64,
    "F16": np.float16,
    "F32": np.float32,
    "F64": np.float64,
    "BF16": ml_dtypes.bfloat16,
    "F8_E4M3": ml_dtypes.float8_e4m3fn,
    "F8_E5M2": ml_dtypes.float8_e5m2,
}


def write_arrays(
    path: Path, arrays: Mapping[str, npt.NDArray[Any]]
) -> tuple[list[str], dict[str, Any]]:
    """Writes arrays as safetensors, and syncs them to disk.

    A file that is there already is written over in place, which saves the system the
    work of finding room for a new one.

    Args:
        path: The file.
        arrays: Arrays of numbers by name, of any shape.

    Returns:
        Their names in order, and the size and SHA-256 of the file, hashed while it is
        written.

    Raises:
        ValueError: For an array that does not hold numbers.
    """
    # The format takes the bytes of an array as they lie: they must lie in its order.
    dense = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    known = {np.dtype(dtype) for dtype in _DTYPES.values()}
    other = {n: str(a.dtype) for n, a in dense.items() if a.dtype.newbyteorder("=") not in known}
    if other:
        raise ValueError(f"`arrays` must hold numbers. Received: {other}.")
    content = safetensors.numpy.save(dense)
    with open(path, "r+b" if path.exists() else "wb") as file, ThreadPoolExecutor(1) as pool:
        hashing = pool.submit(hashlib.sha256, content)
        file.write(content)
        file.truncate(len(content))
        file.flush()
        os.fsync(file.fileno())
        digest = hashing.result().hexdigest()
    return list(dense), {"bytes": len(content), "sha256": digest}


def read_arrays(path: Path, names: Sequence[str]) -> Arrays:
    """Reads the arrays of these names, in this order.

    Raises:
        ValueError: When the file is no safetensors, cut off, or holds other arrays.
    """
    try:
        found = dict(_deserialize(path.read_bytes()))
        arrays = {
            name: np.frombuffer(entry["data"], _DTYPES[entry["dtype"]]).reshape(entry["shape"])
            for name, entry in found.items()
        }
    except (safetensors.SafetensorError, KeyError, ValueError) as error:
        raise ValueError(
            f"`{path}` must hold arrays of numbers as safetensors. Received: "
            f"{type(error).__name__}: {error}. The file is damaged."
        ) from error
    if set(arrays) != set(names) or len(arrays) != len(names):
        other = sorted(set(arrays) ^ set(names))
        raise ValueError(
            f"`{path}` must hold the arrays that its manifest lists. Received: a file that "
            f"differs in {other[:5]}. The file is damaged."
        )
    return {name: arrays[name] for name in names}


def bytes_of(array: npt.NDArray[Any]) -> memoryview:
    """The bytes of an array, not copied if they lie together."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
