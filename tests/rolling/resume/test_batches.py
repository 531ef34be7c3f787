"""Batches that depend on the seed and their place alone."""

import numpy as np
import pytest

from keras_trainsteps.rolling import resumable_batches
from tests.rolling.models import ranking_data

X, Y = ranking_data()


def batches(**options):
    return resumable_batches(X["features"], Y, **{"batch_size": 10, "seed": 1, **options})


def test_each_pass_holds_every_row_once_in_an_order_of_its_own():
    stream = batches(batch_size=7)
    passes = [
        np.concatenate([stream.rows(n * stream.steps_per_epoch + i) for i in range(6)])
        for n in range(3)
    ]
    for rows in passes:
        assert sorted(rows) == list(range(40))
    assert not np.array_equal(passes[0], passes[1])


def test_batches_hold_whole_queries():
    stream = resumable_batches(X, Y, query_ids="query_id", batch_size=12, seed=3)
    for step in range(2 * stream.steps_per_epoch):
        rows = stream.rows(step)
        for query in np.unique(X["query_id"][rows]):
            assert np.sum(X["query_id"][rows] == query) == np.sum(X["query_id"] == query)


def test_an_element_depends_on_the_seed_and_its_place_alone():
    whole = list(batches().from_step(0).take(11).as_numpy_iterator())
    for start in (7, 3, 10):
        part = next(iter(batches().from_step(start).as_numpy_iterator()))
        for left, right in zip(part, whole[start], strict=True):
            np.testing.assert_array_equal(left, right)
    other = next(iter(batches(seed=2).from_step(0).as_numpy_iterator()))
    assert not np.array_equal(other[0], whole[0][0])


def test_the_fingerprint_is_that_of_the_values_and_their_shape():
    rng = np.random.default_rng(0)
    wide = rng.normal(size=(1000, 400)).astype("float32")  # more than is hashed at a time
    texts = np.array([f"{number}" for number in range(1000)], object)

    def fingerprint(*parts):
        return resumable_batches(parts, seed=1).fingerprint

    same = fingerprint(wide, texts)
    assert fingerprint(np.asfortranarray(wide), texts.copy()) == same
    assert fingerprint(wide.reshape(1000, 20, 20), texts) != same
    for part in (wide, texts):
        for row in (0, 999):
            other = part.copy()
            other[row] = part[1]
            assert (
                fingerprint(*(other if each is part else each for each in (wide, texts))) != same
            )


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"batch_size": 0}, "`batch_size` must be"),
        ({"seed": None}, "`seed` must be"),
        ({"seed": -1}, "`seed` must be"),
        ({"query_ids": "q"}, "`query_ids` must name"),
    ],
)
def test_bad_batches_are_refused(options, match):
    with pytest.raises(ValueError, match=match):
        batches(**options)
    with pytest.raises(ValueError, match="one entry per row"):
        resumable_batches(X["features"], Y[:3], seed=1)
    with pytest.raises(ValueError, match="weights without `y`"):
        resumable_batches(X["features"], None, Y, seed=1)
