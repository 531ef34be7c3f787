"""Which entries of the `x` dict go to the network, and which a running step knows."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_trainsteps import LossAwareSequential, metrics
from keras_trainsteps.step import side_inputs
from keras_trainsteps.step.running import Running
from tests.toy import (
    ROWS,
    X,
    Y,
    calls_by_hand,
    close,
    evaluate,
    fit,
    hooked,
    still,
)

IDS = np.array([0, 0, 0, 0, 1, 1, 1, 1, 2, 2])  # whole in batches of 4


def inputs_of(*names):
    return [keras.Input((1,), name=name) for name in names]


def test_what_is_no_dict_is_passed_on():
    x = tf.ones((2, 1))
    assert side_inputs.network_inputs(x, {"q"}, None, single=True) is x


def test_a_called_model_gets_the_rest_of_the_dict():
    found = side_inputs.network_inputs({"a": 1, "q": 2, "b": 3}, {"q"}, None, single=False)
    assert found == {"a": 1, "b": 3}


def test_declared_inputs_are_taken_by_name_whatever_the_order():
    x = {"z": 1, "b": 2, "a": 3, "0": 4}
    first, second = inputs_of("z", "a")
    take = side_inputs.network_inputs
    assert take(x, (), [first, second], single=False) == [1, 3]
    assert take(x, (), {"z": first, "a": second}, single=False) == {"z": 1, "a": 3}
    assert take(x, (), first, single=False) == 1


def test_the_only_entry_left_need_not_have_the_name_of_the_only_input():
    (only,) = inputs_of("features")
    x = {"other": 1, "q": 2}
    assert side_inputs.network_inputs(x, {"q"}, only, single=False) == 1
    assert side_inputs.network_inputs(x, {"q"}, [only], single=False) == [1]


def test_an_optional_input_may_be_missing():
    needed = keras.Input((1,), name="needed")
    optional = keras.Input((1,), name="optional", optional=True)
    found = side_inputs.network_inputs(
        {"needed": 1, "q": 2}, {"q"}, [needed, optional], single=False
    )
    assert found == [1, None]


def test_current_is_known_while_a_step_runs_only():
    with Running({"q": 5}):
        assert side_inputs.current("q") == 5
        with Running({"q": 6}):
            assert side_inputs.current("q") == 6
        assert side_inputs.current("q") == 5
        with pytest.raises(ValueError, match=r"side input 'mask'.*Received: keys \['q'\]"):
            side_inputs.current("mask")
    with pytest.raises(ValueError, match="no batch"):
        side_inputs.current("q")


def test_the_only_input_is_taken_by_name_also_when_it_is_a_side_input():
    cost, other = np.arange(ROWS, dtype="float32")[:, None], 100.0 + X[:, :1]
    inputs = keras.Input((1,), name="cost")
    outputs = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")(inputs)
    cls = hooked(lambda x, y, y_pred: {"score": y_pred * x["cost"]}, side_inputs=["cost"])
    model = still(cls(inputs, outputs))
    x = {"cost": cost, "other": other}
    np.testing.assert_array_equal(model.predict(x, verbose=0), cost)
    assert evaluate(model, x)["score"] == close(np.mean(cost.astype("float64") ** 2))


def test_a_call_by_keyword_leaves_side_inputs_out():
    Called, seen = calls_by_hand(side_inputs=["query_id"])
    Called()(inputs={"features": X, "query_id": IDS})
    assert seen
    assert all(keys == ["features"] for keys in seen)


def test_side_inputs_that_only_a_metric_names_never_reach_call():
    Called, seen = calls_by_hand()
    model = still(Called(), loss="mse", metrics=[metrics.NDCG("query_id")])
    fit(model, {"features": X, "query_id": IDS}, np.abs(Y))
    assert seen
    assert all(keys == ["features"] for keys in seen)


def test_side_inputs_that_only_a_metric_names_never_reach_a_sequential_model():
    model = LossAwareSequential([keras.layers.Dense(1)])
    still(model, loss="mse", metrics=[metrics.NDCG("query_id")])
    fit(model, {"features": X, "query_id": IDS}, np.abs(Y))
    assert model.count_params() == 3 + 1
