"""On two replicas, a step around that of the library trains as that of the library."""

import tensorflow as tf

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0],
    [tf.config.LogicalDeviceConfiguration()] * 2,
)

import keras  # noqa: E402

from keras_trainsteps import LossAwareModel  # noqa: E402
from tests.toy import X, Y, fit, network  # noqa: E402

STRATEGY = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


class Longer(LossAwareModel):
    def train_step(self, data):
        return super().train_step(data)


def fitted(cls):
    with STRATEGY.scope():
        model = network(cls)
        model.compile(keras.optimizers.SGD(0.1), loss="mse", metrics=["mae"])
    return fit(model, X, Y)


if __name__ == "__main__":
    assert fitted(Longer) == fitted(LossAwareModel)
