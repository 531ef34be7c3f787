"""Rows grouped by query."""

import numpy as np
import pytest

from keras_trainsteps.metrics import NDCG
from keras_trainsteps.queries import query_sizes, ranking_rows
from tests.replicas.threads import on_replicas


def test_distinct_string_ids_stay_distinct():
    # With 32 bits of hash, several of 200,000 would be taken for another.
    ids = np.char.add("user-", np.arange(200_000).astype(str)).astype(object)
    rows = np.zeros(len(ids), "float32")
    assert int(ranking_rows(rows, rows, query_ids=ids).num_queries) == len(ids)


def test_padded_lists_of_other_shapes_are_refused_though_they_have_as_many_entries():
    with pytest.raises(ValueError, match=r"same shape. Received: \(2, 3\) and \(3, 2\)"):
        ranking_rows(np.ones((2, 3)), np.ones((3, 2)))


def test_replicas_count_each_query_once(monkeypatch):
    # 5 has rows on both replicas; 6 and 7 one row each.
    shares = [([5, 5, 6],), ([5, 7, 8, 8],)]

    def sizes(ids):
        rows = np.zeros(len(ids))
        return query_sizes(ranking_rows(rows, rows, query_ids=ids)).numpy()

    found = on_replicas(monkeypatch, sizes, shares)
    assert [part.tolist() for part in found] == [[1, 1], [1, 1]]


def test_padded_lists_of_two_replicas_stay_queries_of_their_own(monkeypatch):
    shares = [([[1.0, 0.0], [0.0, 3.0]], [[1.0, 2.0], [4.0, 3.0]]), ([[2.0, 1.0]], [[5.0, 9.0]])]

    def state(y, s):
        metric = NDCG(None)
        metric.update_state(y, s)
        return float(metric.total), float(metric.count)

    both = tuple(np.concatenate([share[part] for share in shares]) for part in range(2))
    total, count = state(*both)
    found = np.array(on_replicas(monkeypatch, state, shares))
    np.testing.assert_allclose(found.sum(axis=0), [total, count], rtol=1e-12)
    assert found[:, 1].tolist() == [2, 1]
