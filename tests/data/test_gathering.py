"""Batches gathered within `tf.data`: nothing is copied, nothing outlives its dataset."""

import gc
import tracemalloc
import weakref

import numpy as np
import pytest

from keras_trainsteps.data import query_batches
from keras_trainsteps.data.arrays import as_arrays
from keras_trainsteps.rolling import resumable_batches

ROWS = 4096
IDS = np.arange(ROWS) // 8


def by_query(x):
    return query_batches(x, query_ids="q", batch_size=128, seed=1)


def resumable(x):
    batches = resumable_batches(x, query_ids="q", batch_size=128, seed=1)
    return batches.from_step(3).take(batches.steps_per_epoch)


MAKERS = pytest.mark.parametrize("make", [by_query, resumable])


@MAKERS
def test_arrays_are_copied_neither_at_once_nor_by_and_by(make):
    x = {"f": np.ones((ROWS, 512), "float32"), "q": IDS}  # 8 MiB
    for _ in make({name: array[:256] for name, array in x.items()}):  # what is made once
        pass
    tracemalloc.start()
    try:
        for _ in make(x):
            pass
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < x["f"].nbytes / 2


@MAKERS
def test_arrays_end_with_their_dataset(make):
    array = np.ones((ROWS, 2), "float32")
    dataset = make({"f": array, "q": IDS}).map(lambda x: x["f"])
    alive = weakref.ref(array)
    rest = iter(dataset)
    next(rest)
    del array, dataset
    gc.collect()
    assert alive() is not None
    assert sum(len(batch) for batch in rest) == ROWS - 128
    del rest
    gc.collect()
    assert alive() is None


@pytest.mark.parametrize("dtype", ["float32", "int64", "bool", "U3"])
def test_what_needs_no_cast_is_taken_as_it_is(dtype):
    array = np.ones((4, 2), dtype)
    assert as_arrays(array)[0] is array or np.shares_memory(as_arrays(array)[0], array)


@MAKERS
@pytest.mark.parametrize(
    "view",
    [np.asfortranarray, lambda a: a[:, ::2], lambda a: a.astype(a.dtype.newbyteorder())],
    ids=["columns", "strides", "byte order"],
)
@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_arrays_of_any_layout(make, view, dtype):
    array = np.arange(4 * ROWS, dtype=dtype).reshape(ROWS, 4)
    for batch in make({"f": view(array), "row": np.arange(ROWS), "q": IDS}):
        assert batch["f"].dtype == dtype
        np.testing.assert_array_equal(batch["f"], view(array)[batch["row"].numpy()])
