"""The network of a model, separated from its loss; what cannot be."""

import os

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_trainsteps import LossAwareModel, LossAwareSequential
from keras_trainsteps.rolling import export_serving, load_for_inference, save_for_inference
from tests.rolling.artifacts.towers import Towers, tower_inputs
from tests.rolling.models import ranking_data

X, Y = ranking_data()


def test_sequential_models(tmp_path):
    model = LossAwareSequential([keras.Input((3,)), keras.layers.Dense(2, name="out")])
    save_for_inference(model, tmp_path / "s")
    loaded = load_for_inference(tmp_path / "s")
    assert type(loaded) is keras.Sequential
    np.testing.assert_array_equal(loaded(X["features"]), model(X["features"]))
    export_serving(model, tmp_path / "served")


def test_models_that_define_call_are_traced(tmp_path):
    model, rows = Towers(), {name: np.ones((2, 2), "float32") for name in ("user", "item")}
    expected = model(rows)
    with pytest.raises(ValueError, match="`inputs` must be given for a model that defines"):
        save_for_inference(model, tmp_path / "t")
    save_for_inference(model, tmp_path / "t", inputs=tower_inputs())
    loaded = load_for_inference(tmp_path / "t")
    np.testing.assert_array_equal(loaded(rows), expected)
    assert not [v.path for v in loaded.variables if "coefficient" in v.path]


def test_networks_that_cannot_be_separated_are_refused(tmp_path):
    unused = Towers(unused=True)
    unused({name: np.ones((2, 2)) for name in ("user", "item")})
    with pytest.raises(ValueError, match="weights that `call` does not reach"):
        save_for_inference(unused, tmp_path / "t", inputs=tower_inputs())

    class Eager(LossAwareModel):
        def call(self, x):
            return tf.math.cumsum(x)

    eager = Eager()
    eager(np.ones((2, 2)))
    with pytest.raises(ValueError, match=r"must be layers and `keras\.ops`"):
        save_for_inference(eager, tmp_path / "t", inputs=keras.Input((2,)))
    with pytest.raises(ValueError, match="`model` must be built"):
        save_for_inference(keras.Sequential([keras.layers.Dense(1)]), tmp_path / "t")
    assert os.listdir(tmp_path) == []


@keras.saving.register_keras_serializable("shop")
class Twice(keras.layers.Layer):
    def call(self, x):
        return 2 * x


def test_own_layers_must_be_named(tmp_path):
    inputs = keras.Input((3,))
    model = keras.Model(inputs, Twice()(inputs))
    with pytest.raises(ValueError, match="class 'shop>Twice'"):
        save_for_inference(model, tmp_path / "m")
    save_for_inference(model, tmp_path / "m", custom_layers=["shop>Twice"])
    assert load_for_inference(tmp_path / "m")(np.ones((1, 3))).shape == (1, 3)


def test_code_is_refused_when_saving(tmp_path):
    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Lambda(lambda x: x + 1)(inputs))
    with pytest.raises(ValueError, match="must not hold Python code"):
        save_for_inference(model, tmp_path / "m")
