"""Queries as splits, ranked lists, group sizes and numbers of rows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_trainsteps.data import (
    groups_of_ids,
    ids_of_groups,
    of_rows,
    split_by_query,
    top_k,
)

IDS = st.lists(st.integers(-3, 3), min_size=1, max_size=30)


@given(ids=IDS, share=st.sampled_from([0.01, 0.3, 0.99, 1, 2]), text=st.booleans())
def test_no_query_is_split(ids, share, text):
    ids = np.array([f"q{i}" for i in ids] if text else ids)
    number = len(set(ids.tolist()))
    if number < 2 or share >= number:
        with pytest.raises(ValueError, match=r"`query_ids` must be of two|`test_size` must be"):
            split_by_query(ids, test_size=share)
        return
    train, test = split_by_query(ids, test_size=share, seed=3)
    assert sorted([*train, *test]) == list(range(len(ids)))
    assert not set(ids[train].tolist()) & set(ids[test].tolist())
    expected = share if isinstance(share, int) else min(max(round(share * number), 1), number - 1)
    assert len(set(ids[test].tolist())) == expected
    assert np.array_equal(test, split_by_query(ids, test_size=share, seed=3)[1])


def test_seeds_draw_other_queries():
    ids = np.repeat(np.arange(50), 2)
    drawn = {tuple(split_by_query(ids, seed=seed)[1]) for seed in range(5)}
    assert len(drawn) == 5


@pytest.mark.parametrize("test_size", [0, 1.0, -0.5, True, "half", 3])
def test_sizes_of_a_test_that_are_none(test_size):
    with pytest.raises(ValueError, match=r"`test_size` must be a share.*of 3 queries"):
        split_by_query([1, 2, 3], test_size=test_size)


@given(ids=IDS, seed=st.integers(0, 99), k=st.sampled_from([1, 2, None]))
def test_the_best_rows_are_those_of_plain_loops(ids, seed, k):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 4, len(ids)) / 2
    scores[rng.random(len(ids)) < 0.2] = -np.inf
    expected = []
    for query in dict.fromkeys(ids):
        rows = [i for i in range(len(ids)) if ids[i] == query and scores[i] > -np.inf]
        best = sorted(rows, key=lambda i: -scores[i])[:k]
        expected += [(query, rank, i, scores[i]) for rank, i in enumerate(best, start=1)]
    found = top_k(scores[:, None], ids, k)
    assert list(zip(*(column.tolist() for column in found), strict=True)) == expected


def test_rows_by_their_names_and_strings_as_ids():
    found = top_k([1.0, 3.0, 2.0], ["b", "b", "a"], 1, row_ids=["x", "y", "z"])
    assert (found.query_ids.tolist(), found.ids.tolist()) == (["b", "a"], ["y", "z"])


@pytest.mark.parametrize(
    ("given", "match"),
    [
        (([1.0], [1], 0), "`k` must be an integer of at least 1"),
        (([1.0], [1], 1.5), "`k` must be an integer of at least 1"),
        (([1.0, 2.0], [1], 1), r"one entry per row.*\(2,\), \(1,\)"),
        (([np.nan], [1], 1), "`scores` must be numbers"),
    ],
)
def test_what_cannot_be_ranked(given, match):
    with pytest.raises(ValueError, match=match):
        top_k(*given)


@given(sizes=st.lists(st.integers(1, 4), min_size=1, max_size=9))
def test_groups_are_ids_and_back(sizes):
    ids = ids_of_groups(sizes, rows=sum(sizes))
    assert groups_of_ids(ids).tolist() == sizes
    names = np.array([f"{9 - i}" for i in ids])  # in any order, as long as queries are whole
    assert groups_of_ids(names).tolist() == sizes


def test_empty_groups_take_a_number():
    assert ids_of_groups([1, 0, 2]).tolist() == [0, 2, 2]


@pytest.mark.parametrize("sizes", [[1.5], [-1], [[1]], ["2"]])
def test_sizes_that_are_none(sizes):
    with pytest.raises(ValueError, match="`sizes` must be whole numbers of at least 0"):
        ids_of_groups(sizes)


def test_groups_that_do_not_fit():
    with pytest.raises(ValueError, match=r"add up to the number of rows. Received: 5 for 6"):
        ids_of_groups([2, 3], rows=6)
    match = r"must come query by query.*rows of 'a' in 2 places. Sort"
    with pytest.raises(ValueError, match=match):
        groups_of_ids(["a", "b", "a"])
    with pytest.raises(TypeError, match="`query_ids` must be integers or strings"):
        groups_of_ids([0.5])


def test_numbers_of_queries_are_those_of_their_rows():
    ids = ["b", "a", "b", "c"]
    by_id = of_rows({"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0}, ids)
    assert by_id.tolist() == of_rows([2.0, 1.0, 3.0], ids).tolist() == [2.0, 1.0, 2.0, 3.0]
    with pytest.raises(ValueError, match=r"a number for every query. Received: none for 'b'"):
        of_rows({"a": 1.0}, ids)
    with pytest.raises(ValueError, match=r"one number for each query. Received: shape \(2,\)"):
        of_rows([1.0, 2.0], ids)


def test_an_iterable_of_splits_is_what_cross_validation_takes():
    """`cv=` of scikit-learn: pairs of integer arrays of rows, disjoint, of all rows."""
    ids = np.repeat(np.arange(6), 3)
    for train, test in (split_by_query(ids, test_size=2, seed=seed) for seed in range(3)):
        assert train.dtype.kind == test.dtype.kind == "i"
        assert np.array_equal(np.sort(np.concatenate([train, test])), np.arange(18))


def test_ids_and_splits_are_what_scikit_learn_takes():
    from sklearn.linear_model import LinearRegression
    from sklearn.model_selection import GroupKFold, cross_val_score

    ids = np.array([f"q{i}" for i in np.random.default_rng(0).integers(0, 12, 60)])
    x, y = np.arange(60.0)[:, None], np.arange(60.0)
    folds = list(GroupKFold(3).split(x, y, groups=ids))
    for train, test in folds:
        assert not set(ids[train].tolist()) & set(ids[test].tolist())
    assert sorted(np.concatenate([test for _, test in folds]).tolist()) == list(range(60))
    scores = cross_val_score(LinearRegression(), x, y, cv=[split_by_query(ids, seed=1), *folds])
    np.testing.assert_allclose(scores, np.ones(4))
