"""A warm start is exact, complete and all or nothing."""

import keras
import numpy as np
import pytest

from keras_trainsteps import LossAwareModel
from keras_trainsteps.rolling import save_for_training, warm_start
from keras_trainsteps.rolling.artifacts.model_state import read_state
from keras_trainsteps.rolling.artifacts.model_state import state_of as copy_of
from tests.rolling.models import ranker, state_of
from tests.rolling.warm_start.starts import (
    OPTIMIZERS,
    Dense,
    compiled,
    randomized,
    refused,
    sequential,
    shop,
    values,
)


@pytest.mark.parametrize("from_disk", [True, False])
def test_everything_is_loaded_by_name(tmp_path, from_disk):
    source, model = compiled(ranker(dropout=0.1)), compiled(ranker(dropout=0.1), seed=1)
    if from_disk:
        save_for_training(source, tmp_path / "s")
    report = warm_start(model, tmp_path / "s" if from_disk else source)
    assert set(report.loaded) == set(values(source))
    for path, value in values(source).items():
        np.testing.assert_array_equal(values(model)[path], value)


def test_automatic_names_do_not_matter():
    def build():
        return sequential(Dense(4, "relu"), Dense(4), keras.layers.Dropout(0.1))

    source = randomized(build())
    for _ in range(3):
        build()
    model = build()
    assert model.layers[0].name != source.layers[0].name
    report = warm_start(model, source)
    assert report.loaded == ("dense/kernel", "dense/bias", "dense_1/kernel", "dense_1/bias")
    assert set(values(model)) == set(values(source))


def test_a_scorer_starts_a_trainer_that_adds_a_coefficient():
    source = ranker()
    plain = keras.Model(source.input, source.output)
    refused(ranker(), plain, r"log_scale: a weight of the model that the source lacks")
    report = warm_start(ranker(), plain, allow_missing=["log_scale"])
    assert report.initialized == ("log_scale",)


def test_training_choices_may_differ():
    source = sequential(Dense(4, name="a"), keras.layers.Dropout(0.1, name="drop"))
    layer = Dense(4, name="a", kernel_regularizer="l2", kernel_initializer="ones")
    layer.trainable = False
    model = sequential(layer, keras.layers.Dropout(0.7, name="drop"))
    report = warm_start(model, source)
    assert report.loaded == ("a/kernel", "a/bias")
    np.testing.assert_array_equal(layer.kernel, source.get_layer("a").kernel)
    assert (layer.trainable, model.get_layer("drop").rate) == (False, 0.7)
    assert layer.kernel_regularizer is not None


def test_a_renamed_coefficient_is_refused_until_renamed():
    source, model = compiled(ranker()), ranker()
    del model.log_scale
    other = Renamed(model.input, model.output)
    other.sharpness = other.add_weight(name="sharpness", shape=(), initializer="zeros")
    compiled(other, seed=2)
    refused(other, source, "log_scale: a weight of the source that the model lacks")
    rename = {"log_scale": "sharpness"}
    report = warm_start(other, source, rename=rename, optimizer="carry")
    assert "optimizer/momentums/sharpness" in report.loaded
    np.testing.assert_array_equal(other.sharpness, source.log_scale)


class Renamed(LossAwareModel):
    """As `Ranker`, with another name for its coefficient."""


def test_layers_can_be_renamed_with_their_slots():
    source, model = compiled(ranker()), compiled(ranker(name="trunk"), seed=1)
    refused(model, source, "trunk: a layer of the model")
    report = warm_start(model, source, rename={"hidden": "trunk"}, optimizer="carry")
    assert {"trunk/kernel", "optimizer/velocities/trunk/bias"} <= set(report.loaded)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"rename": {"nowhere": "x"}}, "`rename` names 'nowhere'"),
        ({"rename": {"hidden": "head"}}, "makes two things of the source"),
        ({"allow_unused": ["x*"]}, r"`allow_unused` names 'x\*'"),
        ({"allow_missing": ["hidden"]}, "`allow_missing` names 'hidden'"),
        ({"vocabularies": {"hidden": "lookup"}}, "must be one weight of the model"),
        ({"vocabularies": {"hidden/bias": "lookup"}}, "names the lookup 'lookup'"),
        ({"optimizer": "keep"}, "`optimizer` must be one of"),
        ({"learning_rate": 0.1}, "`learning_rate` must be one of"),
    ],
)
def test_arguments_that_name_nothing_are_refused(options, match):
    refused(compiled(ranker(), seed=1), compiled(ranker()), match, **options)


def test_layers_may_be_left_over_when_named():
    source = sequential(Dense(4, name="a"), Dense(4, name="b"), Dense(4, name="c"))
    model = sequential(Dense(4, name="a"), Dense(4, name="c"), Dense(2, name="d"))
    refused(model, source, "differs in 6")
    report = warm_start(model, source, allow_unused=["b"], allow_missing="d")
    assert report.dropped == ("b/kernel", "b/bias")
    assert report.initialized == ("d/kernel", "d/bias")


@pytest.mark.parametrize("name", ["m.h5", "m.keras", "m.weights.h5", "m.pkl"])
def test_files_are_not_opened(tmp_path, name):
    (tmp_path / name).write_bytes(b"x")
    refused(ranker(), tmp_path / name, "which is not opened")


def test_unbuilt_models_are_refused():
    with pytest.raises(ValueError, match="`model` must be built"):
        warm_start(keras.Sequential([Dense(1)]), ranker())


def test_damaged_states_are_refused(tmp_path):
    save_for_training(compiled(ranker()), tmp_path / "s")
    path = tmp_path / "s" / "state.safetensors"
    good = path.read_bytes()
    model = compiled(ranker(), seed=1)
    for at in range(0, len(good), len(good) // 20):
        changed = bytearray(good)
        changed[at] ^= 1
        path.write_bytes(changed)
        refused(model, tmp_path / "s", "other content, by SHA-256")
    path.write_bytes(good[:-1])
    refused(model, tmp_path / "s", "bytes instead of")
    path.write_bytes(good)
    warm_start(model, tmp_path / "s")
    with pytest.raises(ValueError, match="must not exist"):
        save_for_training(model, tmp_path / "s")


def test_a_failure_in_the_middle_leaves_the_model_as_it_was(monkeypatch):
    source, model = compiled(ranker()), compiled(ranker(), seed=1)
    before = state_of(model)
    real, left = keras.Variable.assign, []

    def assign(self, value):
        if left and not left.pop():
            raise RuntimeError("out of memory")
        return real(self, value)

    monkeypatch.setattr(type(model.log_scale), "assign", assign)
    for done in range(16):  # 5 weights, 10 slots, the step
        left[:] = [False, *[True] * done]
        with pytest.raises(RuntimeError, match="out of memory"):
            warm_start(model, source, optimizer="carry")
        assert state_of(model) == before
    left[:] = [True] * 16
    warm_start(model, source, optimizer="carry")
    assert not left


def test_the_report_prints_as_a_table():
    report = warm_start(compiled(ranker()), compiled(ranker()))
    lines = str(report).splitlines()
    assert lines[0].endswith("5 loaded, 0 remapped, 12 initialized, 12 dropped")
    assert any(
        line.split() == ["dropped", "optimizer/velocities/*", "5", "values", "optimizer", "reset"]
        for line in lines
    )
    assert len({line.index("(") for line in lines[1:6]}) == 1


@pytest.mark.parametrize("policy", ["float32", "bfloat16", "mixed_float16"])
def test_what_is_saved_is_what_is_read(tmp_path, policy):
    keras.config.set_dtype_policy(policy)
    try:
        model = compiled(shop("ab"), OPTIMIZERS["loss scale"]())
    finally:
        keras.config.set_dtype_policy("float32")
    save_for_training(model, tmp_path / "s")
    found, expected = read_state(tmp_path / "s"), copy_of(model)
    assert found.layers == expected.layers
    assert found.vocabularies == expected.vocabularies == {"lookup": ["[UNK]", "a", "b"]}
    assert found.optimizer.config == expected.optimizer.config
    for side in ("weights", "seeds"):
        require_equal(getattr(found, side), getattr(expected, side))
    require_equal(found.optimizer.slots, expected.optimizer.slots)
    require_equal(found.optimizer.scalars, expected.optimizer.scalars)


def require_equal(left, right):
    assert left.keys() == right.keys()
    for key, value in left.items():
        assert value.dtype == right[key].dtype
        np.testing.assert_array_equal(value, right[key])
