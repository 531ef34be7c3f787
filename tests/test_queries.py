"""Rows grouped by query."""

import numpy as np
import pytest
import tensorflow as tf

from keras_trainsteps.metrics import NDCG
from keras_trainsteps.queries import (
    exponential,
    places,
    query_order,
    query_sizes,
    ranking_rows,
    relative_gains,
)
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


@pytest.mark.parametrize("unit", [1.0, 1 / 3, 1e300])  # a third is no float32
@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
def test_rows_are_ordered_by_query_then_by_descending_key_and_stably(dtype, unit):
    query = np.array([1, 0, -1, 1, 0, 1, 0, -1, 1])
    key = np.array([0.0, -2.0, 1.0, -0.0, 3.0, np.inf, -2.0, -np.inf, -0.5])
    key = tf.cast(key * (unit if dtype == tf.float64 else 1.0), dtype)
    index = tf.constant(query, tf.int32)
    assert query_order(index, key).numpy().tolist() == [2, 7, 4, 1, 6, 5, 0, 3, 8]
    backwards = tf.range(8, -1, -1)
    assert query_order(index, key, backwards).numpy().tolist() == [2, 7, 4, 6, 1, 5, 3, 0, 8]
    in_graph = tf.function(query_order)(index, key)
    assert in_graph.numpy().tolist() == [2, 7, 4, 1, 6, 5, 0, 3, 8]


def test_places_are_those_of_the_order():
    assert places(tf.constant([2, 0, 3, 1])).numpy().tolist() == [1, 3, 0, 2]


def test_gains_are_powers_of_2_less_1_and_finite_up_to_a_factor():
    labels = np.array([0.0, 1e-9, 1.0, 2.5, 10.0])
    expected = [0.0, 1e-9 * np.log(2) * (1 + 1e-9 * np.log(2) / 2), 1.0, 2**2.5 - 1, 1023.0]
    np.testing.assert_allclose(exponential(tf.constant(labels)), expected, rtol=1e-15)
    query = tf.constant([0, 0, 1, 1, 1])
    large = tf.constant([2000.0, 1999.0, 3.0, 2.0, 0.0], tf.float64)
    found = relative_gains(large, query, 2).numpy()
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[0] / found[1], 2.0, rtol=1e-14)
    np.testing.assert_allclose(found[2:], [7.0, 3.0, 0.0], rtol=1e-15)


@pytest.mark.slow
def test_padded_lists_are_not_grouped_again():
    @tf.function(input_signature=[tf.TensorSpec((None, None))] * 2)
    def rows(y, s):
        return ranking_rows(y, s).query

    kinds = {operation.type for operation in rows.get_concrete_function().graph.get_operations()}
    assert "Unique" not in kinds
    assert rows(tf.zeros((2, 3)), tf.zeros((2, 3))).numpy().tolist() == [0, 0, 0, 1, 1, 1]
