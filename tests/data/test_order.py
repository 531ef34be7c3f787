"""`predict` on `query_batches`: outputs in the order of the arrays, or refused."""

import keras
import numpy as np
import pytest

from keras_trainsteps import LossAwareModel
from keras_trainsteps.data import query_batches
from tests.toy import SUMS, X, close, network, still, two_outputs

IDS = np.array([3, 1, 3, 2, 1, 1, 2, 3, 2, 2])
ARRAYS = {"features": X, "query_id": IDS}


def batches(x=None, y=None, **options):
    return query_batches(x or ARRAYS, y, query_ids="query_id", batch_size=4, **options)


@pytest.fixture(scope="module")
def model():
    class Ids(LossAwareModel):
        side_inputs = ("query_id",)

    return network(Ids)


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("y", [None, np.ones((10, 1))], ids=["x", "x and y"])
def test_outputs_come_in_the_order_of_the_arrays(model, shuffle, y):
    found = model.predict(batches(y=y, shuffle=shuffle), verbose=0)
    assert found[:, 0] == close(SUMS)


def test_every_output_does():
    class Ids(LossAwareModel):
        side_inputs = ("query_id",)

    found = two_outputs(Ids).predict(batches(), verbose=0)
    assert [output[:, 0] for output in found] == [close(SUMS)] * 2


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize(
    "part",
    [
        lambda data: data.map(lambda x: x),
        lambda data: data.take(2),
        lambda data: data.prefetch(1),
    ],
    ids=["map", "take", "prefetch"],
)
def test_what_is_made_of_them_is_refused(model, part, shuffle):
    match = "keep their order in `predict`.*made of them.*Pass what `query_batches` returned"
    with pytest.raises(ValueError, match=match):
        model.predict(part(batches(shuffle=shuffle)), verbose=0)


def test_part_of_them_is_refused(model):
    with pytest.raises(ValueError, match="its batches with `steps`"):
        model.predict(batches(), steps=2, verbose=0)


def test_batches_in_the_order_of_the_arrays_are_batches_like_any(model):
    in_order = {"features": X, "query_id": np.sort(IDS)}
    data = batches(in_order, shuffle=False)
    assert model.predict(data, verbose=0)[:, 0] == close(SUMS)
    assert model.predict(data.take(1), verbose=0)[:, 0] == close(SUMS[:3])
    assert model.predict(data, steps=1, verbose=0)[:, 0] == close(SUMS[:3])


def test_outputs_that_are_not_of_rows_are_refused():
    class Total(LossAwareModel):
        def call(self, x):
            return keras.ops.sum(x["features"], axis=0, keepdims=True)

    with pytest.raises(ValueError, match=r"one entry per row.*`predict_on_batch`"):
        Total().predict(batches(), verbose=0)


def test_evaluate_sees_every_row_once():
    class Ids(LossAwareModel):
        side_inputs = ("query_id",)

    model = still(network(Ids), loss="mse", run_eagerly=True)
    y = SUMS[:, None] + np.arange(10.0)[:, None]
    found = model.evaluate(batches(y=y), verbose=0)
    assert found == close(np.mean(np.arange(10.0) ** 2))
