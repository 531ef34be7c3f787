"""What becomes arrays of rows for all that makes batches; the rest is refused by name."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_trainsteps.data import query_batches
from keras_trainsteps.rolling import resumable_batches

IDS = np.array([7, 7, 8, 8])
RAGGED = [[1, 2], [3], [], [4]]
DATES = np.array(["2020-01-01"] * 4, "datetime64[D]")


class Csr:
    """As SciPy's sparse matrices look, which need not be there."""

    shape = (4, 4)

    def tocsr(self):
        return self


def by_query(x, y=None):
    dataset = query_batches(x, y, query_ids="q", shuffle=False)
    (batch,) = list(dataset)
    return batch


def resumable(x, y=None):
    batches = resumable_batches(x, y, query_ids="q", seed=1)
    return next(iter(batches.from_step(0)))


MAKERS = pytest.mark.parametrize("make", [by_query, resumable])


@MAKERS
@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ([7, 7, 8, 8], [7, 8]),
        ((7, 7, 8, 8), [7, 8]),
        (list("aabb"), [b"a", b"b"]),
        (np.array([7, 7, 8, np.int32(8)], object), [7, 8]),
        (np.array(list("aabb"), object), [b"a", b"b"]),
        (np.array([b"a", b"a", b"b", b"b"]), [b"a", b"b"]),
        (np.array([b"a", b"a", b"b", b"b"], object), [b"a", b"b"]),
        (tf.constant([7, 7, 8, 8]), [7, 8]),
    ],
    ids=["list", "tuple", "texts", "objects", "object texts", "bytes", "object bytes", "tensor"],
)
def test_what_can_be_ids(make, ids, expected):
    found = make({"f": np.ones(4), "q": ids})["q"].numpy().tolist()
    assert sorted(found) == [id_ for id_ in expected for _ in range(2)]


OBJECTS = [
    (np.array(["a", None, "b", "b"], object), r"objects, with None in row 1. Fill in or leave"),
    (np.array(["a", "a", np.nan, "b"], object), "objects, with nan in row 2"),
    (np.array([7, 7, 8, "b"], object), "objects, with 'b' in row 3"),
    ([7, 7.5, None, 8], "objects, with None in row 2"),
    (None, "objects, with None in row 0"),
    ([2**70] * 4, "more than 64 bits. Pass them as text"),
    (DATES, r"dtype datetime64\[D\]. Pass numbers, as by `.astype\('int64'\)`"),
    (RAGGED, "rows of different lengths. Pad them .*`keras.utils.pad_sequences`"),
    (np.array(RAGGED, object), "rows of different lengths. Pad them"),
    (tf.ragged.constant(RAGGED), r"a RaggedTensor. Pass its `to_tensor\(\)`"),
    (tf.sparse.from_dense(np.eye(4)), "a sparse SparseTensor. Make it dense"),
    (Csr(), "a sparse Csr. Make it dense"),
]


@MAKERS
@pytest.mark.parametrize(
    ("place", "values", "received"),
    [
        (place, *one)
        for place in ("ids", "feature", "target")
        for one in OBJECTS
        if place != "target" or one[0] is not None  # which are no targets
    ],
)
def test_what_is_no_dense_array_of_one_kind_is_refused_by_name(make, place, values, received):
    x = {"f": values if place == "feature" else np.ones(4), "q": IDS}
    x["q"] = values if place == "ids" else IDS
    name = {"ids": r"x\['q'\]", "feature": r"x\['f'\]", "target": "y"}[place]
    with pytest.raises(
        TypeError, match=f"`{name}` must be a dense array.*Received: .*{received}"
    ):
        make(x, values if place == "target" else None)


@MAKERS
@pytest.mark.parametrize("ids", [np.array([1.0, np.nan, 2.0, 2.0]), [1.0, 2, 2, 2], [True] * 4])
def test_numbers_that_are_no_ids_are_refused(make, ids):
    match = r"`x\['q'\]` must be integers or strings.*missing ids, and pass the ids as int64"
    with pytest.raises(TypeError, match=match):
        make({"q": ids})


@MAKERS
@pytest.mark.parametrize(
    ("values", "shape"),
    [(np.array(3.0), r"\(\)"), (np.ones((3, 2)), r"\(3, 2\)"), ([], r"\(0,\)")],
)
def test_arrays_of_other_lengths_are_named(make, values, shape):
    match = rf"one entry per row.*`x\['f'\]` of shape {shape}, `x\['q'\]` of shape \(4,\)"
    with pytest.raises(ValueError, match=match):
        make({"f": values, "q": IDS})


@MAKERS
def test_lists_are_arrays_and_lists_of_arrays_are_several(make):
    x = {"f": [[1, 2], [3, 4], [5, 6], [7, 8]], "text": list("abcd"), "q": IDS}
    found, (first, second) = make(x, [IDS / 2, [1.0, 0.0, 1.0, 0.0]])
    order = np.argsort(found["f"].numpy()[:, 0])
    assert found["f"].numpy()[order].tolist() == x["f"]
    assert found["text"].numpy()[order].tolist() == [b"a", b"b", b"c", b"d"]
    assert first.numpy()[order].tolist() == (IDS / 2).tolist()
    assert second.numpy()[order].tolist() == [1, 0, 1, 0]


def test_objects_that_are_numbers_become_floats():
    found = by_query({"f": np.array([1, 2.5, np.nan, 4], object), "q": IDS})["f"]
    assert found.dtype == keras.config.floatx()
    np.testing.assert_array_equal(found, [1, 2.5, np.nan, 4])
