"""Which target, loss, weight and name belongs to which output of the network."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_trainsteps import LossAwareModel
from tests.toy import (
    MAE,
    MSE,
    SQUARES,
    SUMS,
    WEIGHTS,
    X,
    Y,
    close,
    dense,
    evaluate,
    network,
    still,
)

ABSOLUTE = np.abs(SUMS - Y[:, 0])
HALF = (WEIGHTS / 2).astype("float32")


def outputs(structure):
    """A model of which each output, whatever its name, is the sum of the features."""
    inputs = keras.Input((3,))
    layers = keras.tree.map_structure(lambda name: dense(name=name)(inputs), structure)
    return LossAwareModel(inputs, layers)


@pytest.mark.parametrize(
    ("y", "weight"),
    [
        ({"score": Y, "other": Y}, {"score": WEIGHTS, "other": WEIGHTS}),
        ({"label": Y}, {"label": WEIGHTS}),
    ],
    ids=["weights of two targets", "a dict with one weight"],
)
def test_weights_in_a_dict_reach_the_one_output(y, weight):
    inputs = keras.Input((3,))
    model = still(LossAwareModel(inputs, dense(name="score")(inputs)), loss="mse")
    logs = evaluate(model, y=y, sample_weight=weight)
    assert logs["loss"] == close(np.mean(WEIGHTS * SQUARES))


def test_losses_targets_and_weights_in_lists_inside_a_dict_are_found_by_position():
    model = outputs({"many": ["first", "second"], "one": "third"})
    still(model, loss={"many": ["mse", "mae"], "one": "mae"})
    y = {"many": (Y, Y), "one": 0 * Y, "extra": Y}
    weight = {"many": (WEIGHTS, HALF), "one": HALF, "extra": WEIGHTS}
    data = keras.tree.map_structure(lambda array: array.astype("float32"), (X, y, weight))
    batches = tf.data.Dataset.from_tensors(data)
    logs = model.evaluate(batches, verbose=0, return_dict=True)
    parts = {
        "many/0_loss": np.mean(WEIGHTS * SQUARES),
        "many/1_loss": np.mean(HALF * ABSOLUTE),
        "one_loss": np.mean(HALF * np.abs(SUMS)),
    }
    assert logs == {
        **{name: close(part) for name, part in parts.items()},
        "loss": close(sum(parts.values())),
    }


def test_a_weight_for_each_target_goes_to_the_output_of_that_target():
    model = still(outputs(["first", "second", "third"]), loss=["mse", None, "mae"])
    logs = evaluate(model, y=[Y, Y], sample_weight=[WEIGHTS, HALF])
    assert logs["first_loss"] == close(np.mean(WEIGHTS * SQUARES))
    assert logs["third_loss"] == close(np.mean(HALF * ABSOLUTE))


def test_outputs_in_a_dict_are_named_by_their_keys():
    model = still(
        outputs({"click": "second", "buy": "first"}), loss={"click": "mse", "buy": "mae"}
    )
    logs = evaluate(model, y={"click": Y, "buy": Y})
    assert logs == {"loss": close(MSE + MAE), "click_loss": close(MSE), "buy_loss": close(MAE)}


def test_losses_of_one_name_on_one_output_are_numbered_from_1():
    logs = evaluate(still(network(), loss=["mse", "mse", "mse"], loss_weights=[1.0, 2.0, 3.0]))
    assert logs == {
        "loss": close((1 + 2 + 3) * MSE),
        "mse_loss": close(MSE),
        "mse_1_loss": close(MSE),
        "mse_2_loss": close(MSE),
    }
