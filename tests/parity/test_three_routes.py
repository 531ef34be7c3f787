"""A custom loss does not compute something else when it is given to `compile`.

It seems to where models are built from the same `inputs` and `outputs`: each starts with the
layers that the one before has trained.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_trainsteps import LossAwareModel

RNG = np.random.default_rng(100)
X = RNG.random((1000, 32)).astype("float32")
Y = RNG.random((1000, 1)).astype("float32")


def custom_mse(y_true, y_pred):
    return tf.reduce_mean((y_true - y_pred) ** 2, axis=-1)


class MyCustomModel(LossAwareModel):
    """The loss is computed by the model itself."""

    def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
        return {"custom_mse": custom_mse(y, y_pred)}


def graph():
    inputs = keras.Input(shape=(32,))
    return inputs, keras.layers.Dense(1)(inputs)


def losses_of_all_routes(fresh):
    shared = graph()
    found = []
    for cls, loss in (
        (LossAwareModel, "mse"),
        (LossAwareModel, custom_mse),
        (MyCustomModel, None),
    ):
        keras.utils.set_random_seed(100)
        model = cls(*(graph() if fresh else shared))
        model.compile("adam", loss=loss, metrics=["mae"])
        history = model.fit(X, Y, epochs=1, shuffle=False, verbose=0).history
        found.append((history["loss"][0], history["mae"][0]))
    return found


def test_all_three_routes_agree_on_fresh_layers():
    compiled, custom, own = losses_of_all_routes(fresh=True)
    assert compiled == custom == own


@pytest.mark.slow
def test_shared_layers_are_what_makes_the_routes_differ():
    first, second, third = losses_of_all_routes(fresh=False)
    # Each route goes on with the layers as the one before has left them.
    assert first[0] > second[0] > third[0]


def test_the_custom_loss_is_the_formula():
    a_true, a_pred = tf.constant([1.0, 1.5, 1.2]), tf.constant([1.0, 2.0, 1.5])
    expected = np.mean((np.array([1.0, 1.5, 1.2]) - np.array([1.0, 2.0, 1.5])) ** 2)
    np.testing.assert_allclose(custom_mse(a_true, a_pred), expected, rtol=1e-6)
