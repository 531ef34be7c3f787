"""What a model consists of, by path."""

import keras
import numpy as np
import pytest

from keras_trainsteps import LossAwareModel
from keras_trainsteps.structure.structure import structure_of, value_of

Dense = keras.layers.Dense


def graph(**options):
    inputs = keras.Input((3,))
    hidden = keras.layers.Dropout(0.5, **options)(Dense(2)(inputs))
    return LossAwareModel(inputs, Dense(1, name="out")(hidden))


def test_a_graph_goes_by_the_names_of_its_layers():
    graph()  # moves Keras's counters of names
    found = structure_of(graph())
    assert list(found.weights) == ["dense/kernel", "dense/bias", "out/kernel", "out/bias"]
    assert list(found.seeds) == ["dropout/seed_generator"]
    called = {path: layer["called_on"] for path, layer in found.layers.items()}
    assert list(called) == ["input_layer", "dense", "dropout", "out", "(inputs)", "(outputs)"]
    assert "dropout" in str(called["out"])


def test_a_model_with_call_goes_by_its_attributes():
    class Towers(keras.Model):
        def __init__(self):
            super().__init__()
            self.scale = self.add_weight(name="other", shape=())
            self.towers = {"b": Dense(1), "a": Dense(1)}

        def call(self, x):
            return self.scale * (self.towers["a"](x) - self.towers["b"](x))

    model = Towers()
    model(np.ones((1, 3)))
    weights = structure_of(model).weights
    assert sorted(weights) == sorted(
        ["towers/a/kernel", "towers/a/bias", "towers/b/kernel", "towers/b/bias", "scale"]
    )
    assert weights["towers/a/kernel"] is model.towers["a"].kernel


def test_what_was_added_goes_by_its_own_name_and_is_no_layer_to_compare():
    model = graph()
    before = structure_of(model)
    model.add_loss(lambda: keras.ops.sum(model.get_layer("out").kernel), name="size")
    assert structure_of(model).layers == before.layers
    assert list(structure_of(model).weights) == list(before.weights)


def test_weights_of_one_name_are_numbered():
    class Twice(keras.Model):
        def __init__(self):
            super().__init__()
            for _ in range(2):
                self.add_weight(name="same", shape=())

        def call(self, x):
            return x

    model = Twice()
    model(np.ones((1, 3)))
    assert list(structure_of(model).weights) == ["same", "same:1"]


def test_a_value_stays_when_its_variable_changes():
    variable = keras.Variable([1.0, 2.0])
    value = value_of(variable)
    variable.assign([3.0, 4.0])
    assert value.tolist() == [1.0, 2.0]


def test_an_unbuilt_model_is_refused():
    with pytest.raises(ValueError, match="`model` must be built, so that its weights"):
        structure_of(keras.Sequential([Dense(1)]))
