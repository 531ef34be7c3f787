"""Two replicas run steps that a subclass wrote; prints what became of each."""

import numpy as np
import tensorflow as tf

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0],
    [tf.config.LogicalDeviceConfiguration()] * 2,
)

import keras  # noqa: E402

from keras_trainsteps import LossAwareModel  # noqa: E402


class Longer(LossAwareModel):
    def train_step(self, data):
        return super().train_step(data)


class ByHand(LossAwareModel):
    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            loss = self.compiled_loss(y, self(x, training=True))
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        return {m.name: m.result() for m in self.metrics}


def fitted(cls):
    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
        inputs = keras.Input((3,))
        model = cls(inputs, keras.layers.Dense(1, kernel_initializer="ones")(inputs))
        model.compile(keras.optimizers.SGD(0.1), loss="mse", metrics=["mae"])
    x = np.arange(30.0).reshape(10, 3) / 30
    return model.fit(x, np.ones((10, 1)), batch_size=4, shuffle=False, verbose=0).history


if __name__ == "__main__":
    assert fitted(Longer) == fitted(LossAwareModel)
    try:
        fitted(ByHand)
    except ValueError as error:
        print(error)
