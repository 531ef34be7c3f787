"""Which layers are the network: those that only train say so."""

import keras
import numpy as np
import pytest

from keras_trainsteps.structure.network import (
    network_layers,
    network_of,
    training_node,
)

X = np.ones((2, 3), "float32")


class OnlyTrains(keras.layers.Layer):
    """Passes its input on; says that it is no part of the network."""

    part_of_network = False

    def call(self, x):
        return x


class Called(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(1, name="dense")
        self.training = OnlyTrains(name="training")

    def call(self, x):
        return self.training(self.dense(x))


def sequential():
    return keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(1, name="dense"), OnlyTrains(name="training")]
    )


def functional():
    inputs = keras.Input((3,), name="x")
    outputs = OnlyTrains(name="training")(keras.layers.Dense(1, name="dense")(inputs))
    return keras.Model(inputs, outputs)


def called():
    model = Called()
    model(X)
    return model


@pytest.mark.parametrize("build", [sequential, functional, called])
def test_a_layer_that_only_trains_is_no_part_of_the_network(build):
    names = [layer.name for layer in network_layers(build())]
    assert [name for name in names if name != "x"] == ["dense"]


@pytest.mark.parametrize("build", [sequential, functional])
def test_the_network_is_stock_keras_with_the_layers_of_the_model(build):
    model = build()
    network = network_of(model)
    assert type(network).__module__.startswith("keras.")
    assert network.get_layer("dense") is model.get_layer("dense")
    assert "training" not in [layer.name for layer in network.layers]
    np.testing.assert_array_equal(network(X), model(X))


def test_a_layer_in_the_middle_of_a_graph_stays():
    inputs = keras.Input((3,), name="x")
    outputs = keras.layers.Dense(1, name="dense")(OnlyTrains(name="training")(inputs))
    model = keras.Model(inputs, outputs)
    assert training_node(model) is None
    assert [layer.name for layer in network_layers(model)] == ["x", "training", "dense"]


@pytest.mark.parametrize("model", [keras.Sequential([keras.layers.Dense(1)]), Called()])
def test_an_unbuilt_model_is_refused(model):
    with pytest.raises(ValueError, match="`model` must be built: it has no weights yet"):
        network_layers(model)
