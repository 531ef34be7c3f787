"""A model that defines `call`: two towers."""

import keras

from keras_trainsteps import LossAwareModel


class Towers(LossAwareModel):
    """Defines `call`; one term's coefficient is its own."""

    def __init__(self, unused=False):
        super().__init__()
        self.user = keras.layers.Dense(4, "relu")
        self.item = keras.layers.Dense(4)
        self.spare = keras.layers.Dense(1) if unused else None
        self.coefficient = self.add_weight(name="coefficient", shape=())

    def build(self, shape):
        for layer in (self.user, self.item, self.spare):
            if layer is not None:
                layer.build((None, 2))
        super().build(shape)

    def call(self, x, training=False):
        return keras.ops.sum(self.user(x["user"]) * self.item(x["item"]), axis=-1)


def tower_inputs():
    return {name: keras.Input((2,), name=name) for name in ("user", "item")}
