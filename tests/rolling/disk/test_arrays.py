"""Arrays in files: every dtype and shape comes back to the bit; anything else is refused."""

import hashlib
import json
import os
import struct

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from keras_trainsteps.rolling.disk.arrays import read_arrays, write_arrays

DTYPES = (
    *("bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"),
    *("float16", "float32", "float64"),
    *(ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2),
)
SHAPES = ((), (0,), (1,), (3,), (0, 4), (2, 0, 3), (2, 3, 4))
SOME = {"a|b/ü": np.arange(6.0).reshape(2, 3), "": np.float32(2.5), "b": np.array([True])}


def same(found, given):
    assert list(found) == list(given)
    for name, value in given.items():
        value = np.asarray(value)
        assert (found[name].dtype, found[name].shape) == (value.dtype, value.shape), name
        assert found[name].tobytes() == value.tobytes(), name


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: np.dtype(dtype).name)
def test_every_dtype_and_shape_comes_back_to_the_bit(tmp_path, dtype):
    generator = np.random.default_rng(0)
    given = {str(s): generator.integers(0, 2, s).astype(dtype) for s in SHAPES}
    given["bits"] = np.frombuffer(bytes(range(0, 240)), "uint8").view(
        np.uint8 if dtype == "bool" else dtype
    )
    names, entry = write_arrays(tmp_path / "x", given)
    same(read_arrays(tmp_path / "x", names), given)
    content = (tmp_path / "x").read_bytes()
    assert entry == {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


@given(
    array=arrays_of.arrays(
        st.sampled_from(["<f4", ">f8", "<i8", ">u2"]),
        arrays_of.array_shapes(min_dims=2, min_side=1, max_side=4),
    ),
    view=st.sampled_from([np.transpose, lambda a: a[::-1], lambda a: a[..., ::2], np.copy]),
)
def test_views_and_byte_orders_are_written_as_they_read(tmp_path, array, view):
    write_arrays(tmp_path / "x", {"x": view(array)})
    found = read_arrays(tmp_path / "x", ["x"])["x"]
    assert found.dtype == array.dtype.newbyteorder("=")
    np.testing.assert_array_equal(found, view(array))


def test_it_is_the_format_that_other_tools_read(tmp_path):
    write_arrays(tmp_path / "x.safetensors", {"w": np.arange(4.0)})
    found = safetensors.numpy.load_file(tmp_path / "x.safetensors")
    np.testing.assert_array_equal(found["w"], np.arange(4.0))


def test_what_is_read_can_be_changed_and_read_again(tmp_path):
    names, _ = write_arrays(tmp_path / "x", SOME)
    read_arrays(tmp_path / "x", names)["b"][0] = False
    same(read_arrays(tmp_path / "x", names), SOME)


@pytest.mark.parametrize("size", [1, 1000])
def test_a_file_is_written_over_in_place(tmp_path, size):
    path = tmp_path / "x"
    write_arrays(path, {"x": np.zeros(100)})
    before = path.stat().st_ino
    names, _ = write_arrays(path, {"x": np.ones(size)})
    same(read_arrays(path, names), {"x": np.ones(size)})
    assert path.stat().st_ino == before


def test_the_file_is_synced(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.readlink(f"/proc/self/fd/{fd}")))
    write_arrays(tmp_path / "x", SOME)
    assert synced == [str((tmp_path / "x").resolve())]


@pytest.mark.parametrize(
    "value", [np.array(["a"]), np.array([b"a"]), np.array([{}]), np.ones(2, "complex64")]
)
def test_what_is_no_number_is_not_written(tmp_path, value):
    with pytest.raises(ValueError, match=r"`arrays` must hold numbers\. Received: .*'bad'"):
        write_arrays(tmp_path / "x", {"bad": value})
    assert os.listdir(tmp_path) == []


def test_every_file_cut_off_and_every_changed_header_is_refused_or_reads(tmp_path):
    path = tmp_path / "x"
    names, _ = write_arrays(path, SOME)
    content = path.read_bytes()
    for size in range(len(content)):
        path.write_bytes(content[:size])
        with pytest.raises(ValueError, match="The file is damaged"):
            read_arrays(path, names)
    path.write_bytes(content + b"\0")
    with pytest.raises(ValueError, match="The file is damaged"):
        read_arrays(path, names)
    refused = 0
    for at in range(len(content)):
        for bit in (1, 16, 128):
            changed = bytearray(content)
            changed[at] ^= bit
            path.write_bytes(changed)
            try:
                read_arrays(path, names)
            except ValueError:
                refused += 1
    assert refused > len(content)


def forged(header):
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text


HUGE = 2**62


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no safetensors",
        struct.pack("<Q", 2**63) + b"{}",
        forged({"x": {"dtype": "F32", "shape": [HUGE], "data_offsets": [0, 4 * HUGE]}}),
        forged({"x": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 0]}}),
        forged({"x": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}),
        forged({"x": {"dtype": "O", "shape": [0], "data_offsets": [0, 0]}}),
        forged({"x": {"dtype": "C64", "shape": [0], "data_offsets": [0, 0]}}),
        forged({"y": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}}),
        forged({}),
        forged([]),
    ],
)
def test_hostile_files_are_refused(tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(ValueError, match="The file is damaged"):
        read_arrays(tmp_path / "x", ["x"])
