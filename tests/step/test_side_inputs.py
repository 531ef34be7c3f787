"""Which entries of the `x` dict are handed to the network."""

import keras
import numpy as np

from tests.toy import ROWS, X, close, evaluate, hooked, still


def test_the_only_input_is_taken_by_name_also_when_it_is_a_side_input():
    cost, other = np.arange(ROWS, dtype="float32")[:, None], 100.0 + X[:, :1]
    inputs = keras.Input((1,), name="cost")
    outputs = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")(inputs)
    cls = hooked(lambda x, y, y_pred: {"score": y_pred * x["cost"]}, side_inputs=["cost"])
    model = still(cls(inputs, outputs))
    x = {"cost": cost, "other": other}
    np.testing.assert_array_equal(model.predict(x, verbose=0), cost)
    assert evaluate(model, x)["score"] == close(np.mean(cost.astype("float64") ** 2))
