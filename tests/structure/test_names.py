"""Names of layers do not depend on how many were made before."""

import keras
import pytest

from keras_trainsteps.structure.names import layer_names, names_of_classes


def test_names_that_keras_made_are_counted_from_the_start():
    given = [("dense_7", "Dense"), ("mine", "Dense"), ("dense_9", "Dense"), ("dense", "Dense")]
    expected = {"dense_7": "dense", "mine": "mine", "dense_9": "dense_1", "dense": "dense_2"}
    assert names_of_classes(given) == expected


@pytest.mark.parametrize("name", ["BatchNormalization", "LSTM", "Conv2D", "ReLU", "GRUCell"])
def test_classes_are_spelled_as_keras_spells_them(name):
    class Layer(keras.layers.Layer):
        pass

    Layer.__name__ = name
    keras.backend.clear_session()
    first, second = Layer(), Layer()
    assert second.name == f"{first.name}_1"
    assert layer_names([second]) == {second.name: first.name}
