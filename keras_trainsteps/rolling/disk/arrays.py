"""Named arrays in one file of raw bytes, with their index as JSON. Nothing in it is code."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

Arrays = dict[str, npt.NDArray[Any]]

_KINDS = "biuf"


def write_arrays(
    path: Path, arrays: Mapping[str, npt.NDArray[Any]]
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Writes arrays one after the other, and syncs them to disk.

    A file that is there already is written over in place, which saves the system the
    work of finding room for a new one.

    Returns:
        Their index, and the size and SHA-256 of the file, hashed while it is written.
    """
    index: list[dict[str, Any]] = []
    digest, offset = hashlib.sha256(), 0
    mode = "r+b" if path.exists() else "wb"
    with open(path, mode) as file, ThreadPoolExecutor(max_workers=1) as pool:
        hashing = []
        for name, array in arrays.items():
            array = np.asarray(array)
            content = bytes_of(array)
            hashing.append(pool.submit(digest.update, content))
            file.write(content)
            entry = {"name": name, "dtype": array.dtype.name, "shape": list(array.shape)}
            index.append({**entry, "offset": offset})
            offset += array.nbytes
        file.truncate(offset)
        file.flush()
        os.fsync(file.fileno())
        for hashed in hashing:
            hashed.result()
    return index, {"bytes": offset, "sha256": digest.hexdigest()}


def bytes_of(array: npt.NDArray[Any]) -> memoryview:
    """The bytes of an array, not copied if they lie together."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def read_arrays(path: Path, index: list[dict[str, Any]]) -> Arrays:
    """Reads arrays by their index.

    Raises:
        ValueError: When the index does not describe the file.
    """
    content = np.fromfile(path, np.uint8)
    arrays: Arrays = {}
    for entry in index:
        dtype = _dtype(entry["dtype"])
        size = int(np.prod(entry["shape"], dtype=np.int64)) * dtype.itemsize
        part = content[entry["offset"] : entry["offset"] + size]
        if part.size != size:
            raise ValueError(
                f"`{path}` must hold the array {entry['name']!r}. Received: {part.size} of "
                f"{size} bytes. The file is damaged."
            )
        arrays[entry["name"]] = part.view(dtype).reshape(entry["shape"])
    return arrays


def _dtype(name: str) -> np.dtype[Any]:
    if name in ("bfloat16", "float8_e4m3fn", "float8_e5m2"):
        narrow: np.dtype[Any] = np.dtype(getattr(ml_dtypes, name))
        return narrow
    dtype: np.dtype[Any] = np.dtype(name)
    if dtype.kind not in _KINDS:
        raise ValueError(f"Arrays must hold numbers. Received: dtype {name!r}.")
    return dtype
