"""`query_batches`: whole queries, equal numbers of batches, repeatable orders."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_trainsteps.data import query_batches


def batches_of(ids, **options):
    x = {"row": np.arange(len(ids)), "query_id": ids}
    return list(query_batches(x, query_ids="query_id", **options))


@given(
    ids=st.lists(st.integers(-3, 12), min_size=1, max_size=60),
    batch_size=st.integers(1, 70),
    shuffle=st.booleans(),
)
def test_every_query_is_whole_and_every_row_comes_once(ids, batch_size, shuffle):
    ids = np.array(ids)
    found = batches_of(ids, batch_size=batch_size, shuffle=shuffle, seed=1)
    rows = np.concatenate([batch["row"] for batch in found])
    assert sorted(rows) == list(range(len(ids)))
    assert len(found) == min(len(set(ids.tolist())), -(-len(ids) // batch_size))
    seen = [set(batch["query_id"].numpy().tolist()) for batch in found]
    assert sum(map(len, seen)) == len(set.union(*seen))
    for batch in found:
        assert (batch["query_id"].numpy() == ids[batch["row"].numpy()]).all()


def test_without_shuffling_queries_come_in_the_order_of_their_first_rows():
    found = batches_of(np.array([9, 7, 9, 8, 7]), batch_size=3, shuffle=False)
    assert [batch["row"].numpy().tolist() for batch in found] == [[0, 2], [1, 4, 3]]


@pytest.mark.parametrize("shuffle", [True, False])
def test_rows_keep_their_order_within_a_query(shuffle):
    ids = np.random.default_rng(0).integers(0, 20, 1000)
    for batch in batches_of(ids, batch_size=300, shuffle=shuffle, seed=1):
        rows, queries = batch["row"].numpy(), batch["query_id"].numpy()
        for query in set(queries.tolist()):
            assert rows[queries == query].tolist() == np.flatnonzero(ids == query).tolist()


@pytest.mark.parametrize(
    ("sizes", "batch_size", "expected"),
    [
        ([1, 1, 10], 4, [1, 1, 10]),  # cuts by rows would leave the last batch empty
        ([10, 1, 1], 4, [10, 1, 1]),
        ([4, 3, 4, 1], 6, [7, 5]),  # 6 rows lie in the second query, nearer to its end
        ([4, 4, 3, 1], 6, [8, 4]),  # a query cut in half goes to the earlier batch
    ],
)
def test_a_batch_ends_with_the_query_nearest_to_its_share(sizes, batch_size, expected):
    ids = np.repeat(np.arange(len(sizes)), sizes)
    found = batches_of(ids, batch_size=batch_size, shuffle=False)
    assert [len(batch["row"]) for batch in found] == expected


def test_epochs_differ_and_a_seed_repeats_them():
    x = {"query_id": np.arange(50)}
    epochs = []
    for _ in range(2):
        data = query_batches(x, query_ids="query_id", batch_size=10, seed=5)
        epochs.append([[b["query_id"].numpy().tolist() for b in data] for _ in range(2)])
    assert epochs[0] == epochs[1]
    assert epochs[0][0] != epochs[0][1]


def test_the_number_of_batches_is_known():
    data = query_batches({"query_id": np.arange(50) // 2}, query_ids="query_id", batch_size=7)
    assert len(data) == 8 == len(list(data)) == len(list(data))


def test_structures_types_and_weights():
    x = {"f": np.ones((4, 2)), "query_id": np.array(["a", "b", "a", "c"])}
    y = {"click": np.arange(4), "time": np.ones(4)}
    data = query_batches(x, y, np.ones(4), query_ids="query_id", shuffle=False)
    features, targets, weight = next(iter(data))
    assert features["query_id"].numpy().tolist() == [b"a", b"a", b"b", b"c"]
    assert features["f"].dtype == keras.config.floatx() == weight.dtype
    assert targets["click"].numpy().tolist() == [0, 2, 1, 3]


X = {"f": np.ones(4), "query_id": np.arange(4)}


@pytest.mark.parametrize(
    ("args", "options", "error", "match"),
    [
        (
            (X,),
            {"batch_size": 0},
            ValueError,
            "`batch_size` must be an integer of at least 1",
        ),
        (
            (X,),
            {"query_ids": "user"},
            ValueError,
            r"must name an entry of `x`.*\['f', 'query_id'\]",
        ),
        ((np.ones(4),), {}, TypeError, "`x` must be a dict"),
        ((X, np.ones(3)), {}, ValueError, r"one entry per row.*`y` of shape \(3,\)"),
        (({"query_id": np.zeros(0, int)},), {}, ValueError, "at least one row"),
        (({"query_id": np.ones(3)},), {}, TypeError, "must be integers or strings"),
        (({"query_id": np.ones((3, 2), int)},), {}, ValueError, "must have one id per row"),
        ((X, None, np.ones(4)), {}, ValueError, "weights without `y`"),
    ],
)
def test_bad_input(args, options, error, match):
    with pytest.raises(error, match=match):
        query_batches(*args, **{"query_ids": "query_id", **options})
