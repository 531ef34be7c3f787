"""Steps written by hand: what they may do, and what becomes of their numbers."""

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_trainsteps import LossAwareModel
from tests.toy import BATCHES, MAE, MSE, X, Y, close, dense, fit, network, still


class Absolute(LossAwareModel):
    """Trains on the absolute error, and logs it in a tracker of its own."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.absolute = keras.metrics.Mean(name="absolute")

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            y_pred = ops.cast(self(x, training=True), "float32")
            loss = ops.mean(ops.abs(y - y_pred))
        self.apply(tape.gradient(loss, self.trainable_variables))
        self.absolute.update_state(loss)
        return {"absolute": self.absolute.result()}

    def apply(self, gradients):
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))


def test_a_test_step_by_hand_may_call_that_of_the_library():
    class Both(Absolute):
        def test_step(self, data):
            return {"loss": super().test_step(data)["loss"]}

    history = fit(still(network(Both), loss="mse"), validation_data=(X, Y))
    assert history["absolute"] == [close(MAE)]
    assert history["val_loss"] == [close(MSE)]


def test_a_step_with_an_optimizer_of_its_own_need_not_scale_the_loss():
    class Other(Absolute):
        def apply(self, gradients):
            for weight, gradient in zip(self.trainable_variables, gradients, strict=True):
                weight.assign_sub(0.5 * gradient)

    keras.config.set_dtype_policy("mixed_float16")
    try:
        inputs = keras.Input((3,))
        model = still(Other(inputs, dense()(inputs)))
        x, y = np.ones((4, 3), "float32"), np.zeros((4, 1), "float32")
        history = model.fit(x, y, verbose=0).history
    finally:
        keras.config.set_dtype_policy("float32")
    assert history["absolute"] == [3.0]
    np.testing.assert_array_equal(model.get_weights()[0], np.full((3, 1), 1.0 - 0.5 * 1.0))


def test_a_mean_of_a_layer_keeps_its_own_weighing():
    class Watched(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.size = keras.metrics.Mean(name="size")

        def call(self, inputs):
            self.size.update_state(ops.mean(inputs))
            return inputs

    class Listed(Absolute):
        def train_step(self, data):
            super().train_step(data)
            listed = ("absolute", "size")
            return {each.name: each.result() for each in self.metrics if each.name in listed}

    inputs = keras.Input((3,))
    history = fit(still(Listed(inputs, dense()(Watched()(inputs)))))
    assert history["size"] == [close(np.mean([X[rows].mean() for rows in BATCHES]))]
    assert history["absolute"] == [close(MAE)]
