"""A model as a version of a registry."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_trainsteps.rolling import (
    ModelRegistry,
    fingerprint,
    load_published,
    publish_model,
    warm_start,
)
from tests.rolling.models import ranker


@pytest.fixture
def registry(tmp_path):
    return ModelRegistry(tmp_path / "models")


def test_a_version_serves_trains_and_can_be_watched(registry):
    model = ranker()
    model.compile("adam")
    number = publish_model(registry, model, saved_model=True, data_window=("a", "b"))
    found = registry.verify(number)
    assert {"saved_model.pb", "inference/model.keras", "training/state.safetensors"} <= set(
        found.files
    )
    assert found.fingerprint == fingerprint(model)
    x = np.ones((2, 3), "float32")
    np.testing.assert_array_equal(load_published(registry, number)(x), model(x))
    served = tf.saved_model.load(str(found.path)).signatures["serving_default"]
    np.testing.assert_allclose(served(features=x)["reshape"], model(x), rtol=1e-6)
    report = warm_start(ranker(), found.path)
    assert "log_scale" in report.loaded


def test_damage_between_publishing_and_loading_is_found(registry):
    publish_model(registry, ranker())
    path = registry.directory / "1" / "inference" / "MANIFEST.json"
    path.write_text(path.read_text() + " ")
    with pytest.raises(ValueError, match="must be as it was written"):
        load_published(registry, 1)
    registry.publish(lambda stage: (stage / "x").write_text("x"))
    with pytest.raises(ValueError, match="Version 2 must hold a network"):
        load_published(registry, 2)


def test_a_saved_model_is_tried_on_the_golden_batch(registry):
    with pytest.raises(ValueError, match="`golden` must have the inputs of the network"):
        publish_model(registry, ranker(), saved_model=True, golden={"query_id": np.ones(2)})
    assert registry.versions() == []


def test_layers_of_ones_own_are_published_and_loaded_by_name(registry):
    class Half(keras.layers.Layer):  # neither registered nor importable
        def call(self, x):
            return x / 2

    model = keras.Sequential([keras.Input((3,)), Half()])
    with pytest.raises(ValueError, match="Name it in `custom_layers`"):
        publish_model(registry, model)
    number = publish_model(registry, model, custom_layers=["Half"])
    with pytest.raises(ValueError, match=r"Pass `custom_objects` with .*\['Half'\]"):
        load_published(registry, number)
    loaded = load_published(registry, number, custom_objects={"Half": Half})
    np.testing.assert_array_equal(loaded(np.ones((1, 3))), np.full((1, 3), 0.5))
