"""`CorpusRecall`: exact over the catalogue, in validation, and what it refuses."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_trainsteps import LossAwareModel, losses
from keras_trainsteps.metrics import CorpusRecall


def by_loops(queries, items, positives, seen, k):
    """Mean over queries of the share of positives among the `k` best; places of items."""
    values = []
    for query, wanted, hidden in zip(queries, positives, seen, strict=True):
        wanted = [p for p in wanted if p >= 0]
        if not wanted:
            continue
        scores = [sum(a * b for a, b in zip(query, item, strict=True)) for item in items]
        hits = 0
        for p in wanted:
            before = [
                j
                for j in range(len(items))
                if j not in hidden
                and (scores[j] > scores[p] or (scores[j] == scores[p] and j < p))
            ]
            hits += len(before) < k
        values.append(hits / len(wanted))
    return np.mean(values) if values else np.nan


@settings(max_examples=40)
@given(
    seed=st.integers(0, 9999),
    items=st.integers(2, 9),
    k=st.integers(1, 12),
    block=st.integers(1, 10),
    text=st.booleans(),
)
def test_it_is_that_of_plain_loops(seed, items, k, block, text):
    rng = np.random.default_rng(seed)
    vectors = rng.integers(-2, 3, (items, 2)).astype("float32")  # ties
    queries = rng.integers(-2, 3, (4, 2)).astype("float32")
    positives = np.array([[*rng.permutation(items)[:2]] for _ in range(4)])
    positives[rng.random((4, 2)) < 0.2] = -1
    seen = rng.integers(-1, items, (4, 3))

    def ids(places):
        return np.where(places < 0, "", np.char.add("i", places.astype(str))) if text else places

    corpus = {"item": ids(np.arange(items)), "vector": vectors}
    metric = CorpusRecall(
        k, corpus=corpus, tower=keras.layers.Identity(), item_id="item", block=block
    )
    metric.update_state(None, queries, item_id=ids(positives), seen=ids(seen))
    expected = by_loops(queries, vectors, positives, seen, k)
    np.testing.assert_allclose(float(metric.result()), expected, rtol=1e-12)


def towers():
    user, item = keras.Input((3,), name="user"), keras.Input((3,), name="item")
    tower = keras.Sequential([keras.layers.Dense(2)])
    model = LossAwareModel(
        {"user": user, "item": item}, {"query": keras.layers.Dense(2)(user), "item": tower(item)}
    )
    return model, tower


def test_in_fit_items_are_embedded_anew_and_early_stopping_can_read_it():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(20, 3)).astype("float32")
    model, tower = towers()
    corpus = {"item_id": np.arange(20), "item": features}
    recall = CorpusRecall(3, corpus=corpus, tower=tower, item_id="item_id", block=6)
    model.compile(
        keras.optimizers.SGD(0.3),
        loss=losses.InfoNCE(outputs=("query", "item")),
        metrics={"query": [recall]},
    )
    ids = rng.integers(0, 20, 16)
    x = {"user": features[ids], "item": features[ids], "item_id": ids}
    stop = keras.callbacks.EarlyStopping("val_query_corpus_recall@3", patience=5, mode="max")
    y = {"query": ids, "item": ids}
    history = model.fit(
        x, y, validation_data=(x, y), epochs=2, batch_size=8, verbose=0, callbacks=[stop]
    ).history
    assert np.isnan(history["query_corpus_recall@3"]).all()
    queries = model.predict(x, verbose=0)["query"]
    vectors = tower.predict(features, verbose=0)
    expected = by_loops(queries, vectors, ids[:, None], [[]] * 16, 3)
    np.testing.assert_allclose(history["val_query_corpus_recall@3"][-1], expected)
    with pytest.raises(ValueError, match=r"`item_id` must be in `corpus`.*leave the row out"):
        model.evaluate({**x, "item_id": ids + 10}, y, verbose=0)


def identity(**changes):
    corpus = {"item": np.array([1, 2]), "vector": np.eye(2)}
    options = {"corpus": corpus, "tower": keras.layers.Identity(), "item_id": "item", **changes}
    return CorpusRecall(1, **options)


def test_bad_input():
    with pytest.raises(ValueError, match=r"`item_id` must be in `corpus`"):
        identity().update_state(None, np.eye(2), item_id=[1, 3])
    with pytest.raises(ValueError, match=r"one row for each id.*several of 1 that differ in 'v'"):
        identity(corpus={"item": np.array([1, 1]), "v": np.eye(2)})
    with pytest.raises(ValueError, match="with an entry 'item' of ids"):
        identity(corpus={"vector": np.eye(2)})
    with pytest.raises(TypeError, match="Ids must be integers, as those of `corpus`"):
        identity().update_state(None, np.eye(2), item_id=["1", "2"])
    loaded = CorpusRecall.from_config(identity().get_config())
    with pytest.raises(ValueError, match=r"Compile the loaded model with a new `CorpusRecall"):
        loaded.update_state(None, np.eye(2), item_id=[1, 2])


def test_a_nan_embedding_shows():
    metric = identity()
    metric.update_state(None, np.full((1, 2), np.nan), item_id=[1])
    assert np.isnan(float(metric.result()))


def test_serving_by_keras_rs_finds_what_the_metric_counts():
    import keras_rs

    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(30, 4)).astype("float32")
    queries = rng.normal(size=(12, 4)).astype("float32")
    wanted = rng.integers(0, 30, 12)
    corpus = {"item": np.arange(30), "vector": vectors}
    metric = CorpusRecall(5, corpus=corpus, tower=keras.layers.Identity(), item_id="item")
    metric.update_state(None, queries, item_id=wanted)
    _, found = keras_rs.layers.BruteForceRetrieval(vectors, k=5)(queries)
    hits = [item in best for item, best in zip(wanted, np.asarray(found), strict=True)]
    np.testing.assert_allclose(float(metric.result()), np.mean(hits))
