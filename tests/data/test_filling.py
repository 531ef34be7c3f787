"""Batches that are filled up: the same rows, in batches of one size or two."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from keras_trainsteps import LossAwareModel, losses, metrics
from keras_trainsteps.data import ROW_MASK, padding_of, query_batches
from keras_trainsteps.rolling import resumable_batches

SIZES = st.lists(st.integers(1, 9), min_size=1, max_size=12)


def of(sizes, **options):
    ids = np.repeat(np.arange(len(sizes)), sizes)
    x = {"row": np.arange(len(ids)), "query_id": ids}
    return query_batches(
        x, np.arange(len(ids), dtype="float32"), query_ids="query_id", **{"seed": 3, **options}
    )


@given(sizes=SIZES, batch_size=st.integers(1, 20), shuffle=st.booleans())
def test_the_rows_that_count_are_those_of_the_batches(sizes, batch_size, shuffle):
    options = {"batch_size": batch_size, "shuffle": shuffle}
    plain, filled = of(sizes, **options), of(sizes, pad=True, **options)
    shapes = set()
    for _ in range(2):  # passes
        for (x, y), (padded, padded_y) in zip(plain, filled, strict=True):
            kept = padded[ROW_MASK].numpy()
            assert kept[: len(y)].all()
            assert not kept[len(y) :].any()
            np.testing.assert_array_equal(padded["row"][kept], x["row"])
            np.testing.assert_array_equal(padded["query_id"][kept], x["query_id"])
            np.testing.assert_array_equal(padded_y[kept], y)
            assert set(padded["row"].numpy()[~kept]) <= {int(x["row"][0])}
            shapes.add(len(kept))
    assert len(shapes) <= 2


def test_batches_of_like_queries_have_one_known_shape():
    dataset = of([10, 11, 9, 10, 12, 8] * 20, batch_size=100, pad=True)
    assert dataset.element_spec[1].shape == (112,)  # the share of 100, and the largest query


def test_a_long_query_has_a_size_of_its_own():
    dataset = of([10] * 100 + [500], batch_size=100, pad=True, shuffle=False)
    rows = [len(y) for _, y in dataset]
    assert len(set(rows)) == 2
    assert rows.count(max(rows)) == 1


def test_the_waste_is_what_the_batches_hold():
    for sizes in ([10, 11, 9, 10, 12, 8] * 20, [10] * 100 + [500]):
        dataset = of(sizes, batch_size=100, pad=True, shuffle=False)
        masks = [x[ROW_MASK].numpy() for x, _ in dataset]
        found = padding_of(dataset)
        assert found.rows == sum(sizes) == sum(mask.sum() for mask in masks)
        assert found.filled == sum((~mask).sum() for mask in masks)
        assert set(found.sizes) == {len(mask) for mask in masks}
        assert found.waste == pytest.approx(np.mean(~np.concatenate(masks)), abs=1e-4)


def test_what_is_not_filled_up_has_no_waste_to_say():
    for batches in (of([3, 4]), of([3, 4], pad=True).take(1), {"row": [1]}):
        with pytest.raises(ValueError, match=r"must be what `query_batches\(..., pad=True\)`"):
            padding_of(batches)


@pytest.mark.parametrize("x", [{ROW_MASK: np.ones(3), "id": np.arange(3)}], ids=["entry"])
def test_an_entry_of_that_name_is_refused(x):
    with pytest.raises(ValueError, match="will say which rows count"):
        query_batches(x, query_ids="id", pad=True)


def test_resumable_batches_are_filled_up_too():
    x = {"id": np.repeat(np.arange(5), [2, 3, 1, 4, 2])}
    plain, filled = (
        resumable_batches(x, query_ids="id", batch_size=4, seed=1, pad=pad) for pad in (0, 1)
    )
    assert plain.fingerprint != filled.fingerprint
    for step, batch in zip(range(5), filled.from_step(0), strict=False):
        np.testing.assert_array_equal(filled.rows(step), plain.rows(step))
        np.testing.assert_array_equal(
            batch["id"][batch[ROW_MASK]].numpy(), x["id"][plain.rows(step)]
        )


class Ranker(LossAwareModel):
    side_inputs = ("query_id",)


def ranker(**options):
    keras.utils.set_random_seed(1)
    inputs = keras.Input((3,), name="features")
    model = Ranker({"features": inputs}, keras.layers.Dense(1)(inputs))
    model.compile(
        "sgd", loss=losses.Softmax("query_id"), metrics=[metrics.NDCG("query_id")], **options
    )
    return model


RNG = np.random.default_rng(0)
QUERY = np.repeat(np.arange(30), RNG.integers(1, 12, 30))
X = {"features": RNG.normal(size=(len(QUERY), 3)), "query_id": QUERY}
Y = RNG.integers(0, 3, len(QUERY)).astype("float32")


def whole(**options):
    return query_batches(X, Y, query_ids="query_id", batch_size=40, seed=2, **options)


@pytest.mark.parametrize("pad", [False, True])
def test_predict_has_the_order_of_the_arrays(pad):
    model = ranker()
    expected = model.predict(X, verbose=0)
    for shuffle in (False, True):
        found = model.predict(whole(shuffle=shuffle, pad=pad), verbose=0)
        np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.slow
def test_an_epoch_under_xla_compiles_at_most_twice():
    """That more are warned of, which is an error in tests, is a test of its own."""
    plain, filled = ranker(), ranker(jit_compile=True)
    logs = [
        model.fit(whole(pad=pad), epochs=2, validation_data=whole(pad=pad), verbose=0).history
        for model, pad in ((plain, False), (filled, True))
    ]
    for name, values in logs[0].items():
        np.testing.assert_allclose(logs[1][name], values, rtol=2e-6, err_msg=name)
    for one, other in zip(plain.get_weights(), filled.get_weights(), strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_a_stream_of_filled_batches_is_compiled_by_itself(monkeypatch):
    monkeypatch.setattr(
        tf.config, "list_physical_devices", lambda *_: [tf.config.LogicalDevice("gpu", "GPU")]
    )
    model = ranker()
    model.fit(whole(pad=True), verbose=0)
    assert model.jit_compile
    model.fit(whole(), verbose=0)
    assert not model.jit_compile
