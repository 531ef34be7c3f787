"""Ranking metrics against plain loops; epochs, weights, saving."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from keras_trainsteps.data import query_batches
from keras_trainsteps.metrics import NDCG, PairAccuracy
from tests.models import linear
from tests.reference import ranking

CASES = {
    "ndcg": (lambda: NDCG("q"), ranking.ndcg, {}),
    "ndcg@3": (lambda: NDCG("q", k=3), ranking.ndcg, {"k": 3}),
    "ndcg@2 one": (
        lambda: NDCG("q", k=2, no_relevant="one"),
        ranking.ndcg,
        {"k": 2, "no_relevant": "one"},
    ),
    "ndcg skip": (
        lambda: NDCG("q", no_relevant="skip"),
        ranking.ndcg,
        {"no_relevant": "skip"},
    ),
    "pair_accuracy": (lambda: PairAccuracy("q"), ranking.pair_accuracy, {}),
}


@st.composite
def batches(draw):
    rows = draw(st.integers(1, 30))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return {
        "y": rng.integers(0, draw(st.integers(1, 4)), size=rows).astype("float32"),
        "s": rng.integers(0, draw(st.integers(1, 50)), size=rows).astype("float32"),
        "ids": rng.integers(0, draw(st.integers(1, 8)), size=rows) - 2**40,
        "mask": rng.random(rows) < draw(st.sampled_from([0.3, 1.0])),
        "weight": rng.integers(0, 4, size=rows).astype("float32"),
    }


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.parametrize("weighted", [False, True])
def test_equals_plain_loops(case, weighted):
    build, reference, options = case
    metric = build()

    @given(batches())
    def check(batch):
        metric.reset_state()
        weight = batch["weight"] if weighted else None
        metric.update_state(
            batch["y"], batch["s"], weight, query_ids=batch["ids"], mask=batch["mask"]
        )
        expected = ranking.by_query(
            lambda y, s: reference(y, s, **options),
            batch["y"],
            batch["s"],
            batch["ids"],
            batch["mask"],
            weight,
        )
        assert float(metric.result()) == pytest.approx(expected, rel=1e-12, abs=1e-12)

    check()


def data(rows=40):
    rng = np.random.default_rng(0)
    x = {
        "features": rng.normal(size=(rows, 3)).astype("float32"),
        "q": np.sort(rng.integers(0, 9, size=rows)),
    }
    return x, rng.integers(0, 3, size=(rows, 1)).astype("float32")


@pytest.mark.parametrize("jit_compile", [False, True])
def test_an_epoch_is_the_mean_over_its_queries(jit_compile):
    x, y = data()
    model = linear()
    metrics = [build() for build, *_ in CASES.values()]
    for metric, name in zip(metrics, CASES, strict=True):
        metric.name = name
    model.compile("sgd", loss="mse", metrics=metrics, jit_compile=jit_compile)
    # Batches with different numbers of queries; the mean of batch means would differ.
    batches = query_batches(x, y, query_ids="q", batch_size=15, shuffle=False)
    logs = model.evaluate(batches, return_dict=True, verbose=0)
    scores = x["features"].astype("float64").sum(axis=1)
    for name, (_, reference, options) in CASES.items():
        expected = ranking.by_query(
            functools.partial(reference, **options), y[:, 0], scores, x["q"]
        )
        assert logs[name] == pytest.approx(expected, rel=1e-6), name


def test_weighted_metrics_weigh_queries_by_the_mean_of_their_rows():
    x, y = data()
    weight = np.random.default_rng(1).random(40).astype("float32")
    model = linear()
    model.compile("sgd", loss="mse", weighted_metrics=[NDCG("q")], metrics=[PairAccuracy("q")])
    logs = model.evaluate(x, y, sample_weight=weight, batch_size=40, return_dict=True, verbose=0)
    scores = x["features"].astype("float64").sum(axis=1)
    batch = (y[:, 0], scores, x["q"])
    assert logs["ndcg"] == pytest.approx(
        ranking.by_query(ranking.ndcg, *batch, weight=weight), rel=1e-6
    )
    assert logs["pair_accuracy"] == pytest.approx(
        ranking.by_query(ranking.pair_accuracy, *batch), rel=1e-6
    )


def test_padded_lists_equal_flat_rows():
    lists = (
        np.array([[2.0, 0.0, 1.0], [1.0, 0.0, 5.0]]),
        np.array([[1.0, 2.0, 3.0], [0.0, 1.0, 9.0]]),
    )
    mask = np.array([[True, True, True], [True, True, False]])
    padded, flat = NDCG(None, mask=None), NDCG("q")
    padded.update_state(*lists, mask=mask)
    flat.update_state(*(values[mask] for values in lists), query_ids=[0, 0, 0, 1, 1])
    assert float(padded.result()) == float(flat.result())


def test_no_query_gives_0():
    metric = NDCG("q", no_relevant="skip")
    metric.update_state([0.0], [1.0], query_ids=[1])
    assert float(metric.result()) == 0.0


def test_without_a_batch_the_side_input_is_asked_for():
    with pytest.raises(ValueError, match="Side input `q` is only known while a `LossAwareModel`"):
        NDCG("q").update_state([0.0], [1.0])


@pytest.mark.parametrize(
    "metric", [NDCG("q", k=3, mask="m", no_relevant="skip"), PairAccuracy("q")]
)
def test_round_trips(metric):
    config = keras.saving.serialize_keras_object(metric)
    again = keras.saving.deserialize_keras_object(config)
    assert again.get_config() == metric.get_config()


def test_names_say_what_they_are():
    assert [NDCG("q").name, NDCG("q", k=10).name] == ["ndcg", "ndcg@10"]


def test_updates_do_not_retrace():
    metric = NDCG("q")
    traces = []

    @tf.function(reduce_retracing=True)
    def update(y, s, ids):
        traces.append(1)
        metric.update_state(y, s, query_ids=ids)

    for rows in (3, 5, 8, 13):
        update(tf.ones(rows), tf.ones(rows), tf.zeros(rows, tf.int64))
    assert len(traces) <= 2
