"""Queries whose rows are in two batches."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_trainsteps import metrics
from keras_trainsteps.data import query_batches
from keras_trainsteps.metrics import MRR, NDCG, PairAccuracy
from keras_trainsteps.metrics.split_queries import WATCHED
from tests.models import linear

SPLIT = "A query must come whole in one batch.*`data.query_batches`"


def update(metric, ids, mask=None):
    ids = np.asarray(ids)
    metric.update_state(np.ones(len(ids)), np.ones(len(ids)), query_ids=ids, mask=mask)


def test_by_default_parts_count_as_queries():
    metric = MRR("q")
    metric.update_state([0.0, 1.0], [2.0, 1.0], query_ids=[1, 1])
    metric.update_state([1.0], [3.0], query_ids=[1])
    assert float(metric.result()) == 0.75


@pytest.mark.parametrize("kind", [int, str])
def test_a_split_query_is_refused_at_any_distance(kind):
    metric = MRR("q", split_queries="error")
    for batch in ([7, 0, 7], [-3], [4, 5]):
        update(metric, [kind(i) for i in batch])
    with pytest.raises(ValueError, match=SPLIT):
        update(metric, [kind(i) for i in (9, 0)])
    assert float(metric.count) == 5
    metric.reset_state()
    update(metric, [kind(0)])


def test_masked_rows_are_no_part_of_a_query():
    metric = MRR("q", split_queries="error")
    update(metric, [1, 2], mask=[True, False])
    update(metric, [2, 1], mask=[True, False])
    assert float(metric.count) == 2


def test_the_cut_at_a_border_is_found_among_any_number_of_queries():
    metric = MRR("q", split_queries="error")
    for start in range(0, 4 * WATCHED, WATCHED):
        update(metric, np.arange(start, start + WATCHED))
        assert sorted(tuple(v.shape) for v in metric.variables) == [(), (), (), (WATCHED,)]
    with pytest.raises(ValueError, match=SPLIT):
        update(metric, [4 * WATCHED - 1, 4 * WATCHED])
    with pytest.raises(ValueError, match=SPLIT):  # a quarter of all queries is remembered
        update(metric, np.arange(64))


def test_in_evaluate():
    rng = np.random.default_rng(0)
    ids = rng.permutation(np.repeat(np.arange(6), 5))
    x = {"features": rng.normal(size=(30, 3)).astype("float32"), "q": ids}
    y = rng.integers(0, 2, size=(30, 1)).astype("float32")
    model = linear()
    watching = [NDCG("q", split_queries="error"), PairAccuracy("q", split_queries="error")]
    model.compile("sgd", loss="mse", metrics=watching)
    whole = query_batches(x, y, query_ids="q", batch_size=10)
    for _ in range(2):
        model.evaluate(whole, verbose=0)
    with pytest.raises(ValueError, match=SPLIT):
        model.evaluate(x, y, batch_size=10, verbose=0)


def test_under_xla_it_is_refused():
    metric = MRR("q", split_queries="error")
    step = tf.function(metric.update_state, jit_compile=True)
    with pytest.raises(ValueError, match="`split_queries` must be 'count_parts' under XLA"):
        step(tf.ones(2), tf.ones(2), query_ids=tf.constant([0, 1]))


def test_round_trip():
    for build in (lambda **kw: metrics.ARP("q", **kw), lambda **kw: NDCG("q", k=2, **kw)):
        metric = build(split_queries="error")
        config = keras.saving.serialize_keras_object(metric)
        assert keras.saving.deserialize_keras_object(config).split_queries == "error"
        with pytest.raises(ValueError, match="`split_queries` must be one of"):
            build(split_queries="join")
