"""Queries whose rows are in two batches."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_trainsteps import metrics
from keras_trainsteps.data import query_batches
from keras_trainsteps.metrics import MRR, NDCG
from keras_trainsteps.metrics.query_metric import has_rows
from tests.models import linear

SPLIT = "A query must come whole in one batch.*`data.query_batches`"


def update(metric, ids, mask=None):
    ids = np.asarray(ids)
    metric.update_state(np.ones(len(ids)), np.ones(len(ids)), query_ids=ids, mask=mask)


def test_parts_count_as_queries_if_asked():
    metric = MRR("q", split_queries="count_parts")
    metric.update_state([0.0, 1.0], [2.0, 1.0], query_ids=[1, 1])
    metric.update_state([1.0], [3.0], query_ids=[1])
    assert float(metric.result()) == 0.75


@pytest.mark.parametrize("kind", [int, str])
def test_a_split_query_is_refused(kind):
    metric = MRR("q")
    for batch in ([7, 0, 7], [-3], [4, 5]):
        update(metric, [kind(i) for i in batch])
    with pytest.raises(ValueError, match=SPLIT):
        update(metric, [kind(i) for i in (9, 0)])
    assert float(metric.count) == 5
    metric.reset_state()
    update(metric, [kind(0)])


def test_masked_rows_are_no_part_of_a_query():
    metric = MRR("q")
    update(metric, [1, 2], mask=[True, False])
    update(metric, [2, 1], mask=[True, False])
    assert float(metric.count) == 2


def test_a_mask_does_not_end_the_watch():
    metric = MRR("q")
    update(metric, [1, 2], mask=[True, True])
    with pytest.raises(ValueError, match=SPLIT):
        update(metric, [2, 3], mask=[True, False])


def test_the_cut_at_a_border_is_found_among_any_number_of_queries():
    metric = MRR("q")
    for start in range(0, 4000, 1000):
        update(metric, np.arange(start, start + 1000))
    with pytest.raises(ValueError, match=SPLIT):
        update(metric, [3999, 4000])


@pytest.mark.parametrize("others", [[8, 7], [1, 14], [15], [0, 15]])
def test_a_query_is_found_behind_15_others_and_no_more(others):
    batches = [
        [0],
        *(100 * n + np.repeat(np.arange(rows), 2) for n, rows in enumerate(others, 1)),
    ]
    found, missed = MRR("q"), MRR("q")
    for ids in batches:
        update(found, ids)
        update(missed, ids)
    with pytest.raises(ValueError, match=SPLIT):
        update(found, [0])
    update(missed, [99])
    update(missed, [0])


class One(metrics.QueryMetric):
    """Counts queries, which compiles quickly."""

    def query_values(self, rows):
        ones = tf.ones((rows.num_queries,), tf.float64)
        return ones, ones * tf.cast(has_rows(rows), tf.float64)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_in_a_graph_of_unknown_size_and_under_xla(jit_compile):
    metric = One("q")
    run = tf.function(metric.update_state, jit_compile=jit_compile, reduce_retracing=True)

    def step(*ids):
        run(tf.ones(len(ids)), tf.ones(len(ids)), query_ids=tf.constant(ids, tf.int64))

    step(0, 1, 1)
    step(2, 3)
    assert float(metric.result()) == 1
    if jit_compile:  # which cannot raise
        step(4, 0)
        assert np.isnan(metric.result())
    else:
        with pytest.raises(tf.errors.InvalidArgumentError, match=SPLIT):
            step(4, 0)
        assert float(metric.count) == 4


def scattered():
    rng = np.random.default_rng(0)
    ids = rng.permutation(np.repeat(np.arange(6), 5))
    x = {"features": rng.normal(size=(30, 3)).astype("float32"), "q": ids}
    return x, rng.integers(0, 2, size=(30, 1)).astype("float32")


def test_arrays_are_refused_before_anything_is_trained():
    x, y = scattered()
    model = linear()
    model.compile("sgd", loss="mse", metrics=[MRR("q"), metrics.QueryAUC("q")])
    before = model.get_weights()
    match = "rows of 6 of 6 queries of `q` in two batches.*`data.query_batches`"
    whole = query_batches(x, y, query_ids="q", batch_size=10)
    for run in (
        lambda: model.evaluate(x, y, batch_size=10, verbose=0),
        lambda: model.fit(x, y, batch_size=10, verbose=0),
        lambda: model.fit(whole, validation_data=(x, y), validation_batch_size=10, verbose=0),
    ):
        with pytest.raises(ValueError, match=match):
            run()
    assert all((a == b).all() for a, b in zip(before, model.get_weights(), strict=True))
    model.fit(whole, validation_data=(x, y), validation_batch_size=30, epochs=2, verbose=0)


@pytest.mark.parametrize("steps_per_execution", [1, 3])
def test_data_that_cannot_be_looked_at_is_refused_on_the_way(steps_per_execution):
    x, y = scattered()
    model = linear()
    options = {"steps_per_execution": steps_per_execution}
    model.compile("sgd", loss="mse", metrics=[One("q")], **options)
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(10)
    with pytest.raises(ValueError, match=SPLIT):
        model.evaluate(data, verbose=0)


def test_round_trip():
    for build in (lambda **kw: metrics.ARP("q", **kw), lambda **kw: NDCG("q", k=2, **kw)):
        metric = build(split_queries="count_parts")
        config = keras.saving.serialize_keras_object(metric)
        assert keras.saving.deserialize_keras_object(config).split_queries == "count_parts"
        assert build().split_queries == "error"
        with pytest.raises(ValueError, match="`split_queries` must be one of"):
            build(split_queries="join")
