"""Weights of terms: by name or by output, numbers or variables."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_trainsteps import LossAwareModel, losses
from tests.toy import MSE, X, Y, close, dense, evaluate, fit, network, still

IDS = np.array([0, 0, 0, 0, 1, 1, 1, 1, 2, 2])  # whole in batches of 4


def test_a_single_compiled_loss_is_no_term_of_its_own():
    model = still(network(), loss=losses.ListMLE("query_id"))
    history = fit(model, {"features": X, "query_id": IDS}, np.abs(Y))
    assert sorted(history) == ["loss"]
    assert model.term_weights == {}


def test_term_weights_are_those_of_what_is_logged_and_1_by_default():
    variable = keras.Variable(0.5, trainable=False)
    weights = {"mse_loss": 2.0, "mae_loss": variable}
    model = network()
    still(model, loss=["mse", "mae", "log_cosh"], loss_weights=weights)
    assert model.term_weights == {}  # no step has run
    evaluate(model)
    found = dict(model.term_weights)
    assert found.pop("mae_loss") is variable
    assert found == {"mse_loss": 2.0, "log_cosh_loss": 1.0}


@pytest.mark.parametrize("name", [None, "mse_loss"], ids=["alone", "by name"])
def test_a_loss_weight_that_is_a_tf_variable_is_known_to_keras_as_its_number(name):
    weight = tf.Variable(3.0, trainable=False)
    model = still(
        network(), loss=["mse"], loss_weights=[weight] if name is None else {name: weight}
    )
    saved = model.get_compile_config()["loss_weights"]
    assert saved == ([3.0] if name is None else {name: 3.0})
    assert evaluate(model)["loss"] == close(3 * MSE)
    (variable,) = model.loss_weight_variables.values()
    variable.assign(5.0)  # as a job that goes on would
    assert evaluate(model)["loss"] == close(5 * MSE)


@pytest.mark.parametrize("weights", [[1.0], [1.0, 2.0, 3.0]])
def test_weights_of_another_number_than_losses_on_an_output_are_refused(weights):
    model = still(network(), loss=["mse", "mae"], loss_weights={"dense": weights})
    model.output_names = ["dense"]
    with pytest.raises(ValueError, match="must match the number of losses"):
        fit(model)


def test_a_name_inside_a_nested_dict_of_weights_is_refused():
    inputs = keras.Input((3,))
    model = LossAwareModel(inputs, {"g": {"a": dense()(inputs), "b": dense()(inputs)}})
    still(model, loss={"g": {"a": "mse", "b": "mse"}}, loss_weights={"g": {"typo": 100.0}})
    with pytest.raises(ValueError, match=r"Received: \['g/typo'\]"):
        fit(model, y={"g": {"a": Y, "b": Y}})
