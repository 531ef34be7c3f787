"""The scorer alone: what is in the file, who can load it, what is refused."""

import json
import os
import pickle
import shutil
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_trainsteps import LossAwareModel, LossAwareSequential
from keras_trainsteps.rolling import (
    export_serving,
    fingerprint,
    load_for_inference,
    save_for_inference,
)
from keras_trainsteps.rolling.disk import manifest
from tests.rolling.models import ranker, ranking_data

X, Y = ranking_data()
SERVED = X["features"]


@pytest.fixture(scope="module")
def model():
    model = ranker(dropout=0.3)
    model.compile("adam", metrics=["mse"])
    model.fit(X, Y, verbose=0)
    return model


@pytest.fixture
def saved(model, tmp_path):
    save_for_inference(model, tmp_path / "scorer")
    return tmp_path / "scorer"


def resealed(path):
    """The directory with a manifest that fits its changed files: a forged one."""
    about = json.loads((path / "MANIFEST.json").read_text())["about"]
    (path / "MANIFEST.json").unlink()
    manifest.write(path, "inference", about)


def test_it_predicts_the_same_without_loss_and_coefficient(model, saved):
    loaded = load_for_inference(saved)
    np.testing.assert_array_equal(loaded.predict(SERVED, verbose=0), model.predict(X, verbose=0))
    assert type(loaded) is type(keras.Model(*[keras.Input((1,))] * 2))
    assert {v.path for v in loaded.variables if "seed" not in v.path} == {
        "hidden/kernel",
        "hidden/bias",
        "head/kernel",
        "head/bias",
    }
    assert fingerprint(loaded) == fingerprint(model)
    assert not loaded.compiled


def test_the_file_holds_no_trace_of_training(saved):
    with zipfile.ZipFile(saved / "model.keras") as archive:
        config = archive.read("config.json").decode()
    assert not json.loads(config)["compile_config"]
    for word in ("keras_trainsteps", "Ranker", "query_id", "log_scale", "adam"):
        assert word not in config
    assert sorted(os.listdir(saved)) == ["MANIFEST.json", "model.keras"]


def test_a_process_without_the_library_serves_both_files(model, saved, tmp_path):
    paths = export_serving(model, tmp_path / "served")
    np.save(tmp_path / "x.npy", SERVED)
    np.save(tmp_path / "y.npy", model.predict(X, verbose=0))
    program = """
import sys
class Refuse:
    def find_spec(self, name, *rest):
        if name.startswith(("keras_trainsteps", "tests")):
            raise ImportError(name)
sys.meta_path.insert(0, Refuse())
import numpy as np, keras, tensorflow as tf
keras_file, saved_model, x, y = sys.argv[1:]
x, y = np.load(x), np.load(y)
got = keras.saving.load_model(keras_file)({"features": x}).numpy()
assert np.array_equal(got, keras.saving.load_model(keras_file).predict_on_batch(x))
np.testing.assert_allclose(got, y, rtol=1e-6)
serve = tf.saved_model.load(saved_model).signatures["serving_default"]
assert list(serve.structured_input_signature[1]) == ["features"]
assert list(serve.structured_outputs) == ["reshape"]
np.testing.assert_allclose(serve(features=tf.constant(x))["reshape"], y, rtol=1e-6)
names = {v.name for v in tf.saved_model.load(saved_model).variables}
assert not any("scale" in name or "adam" in name for name in names), names
assert "keras_trainsteps" not in sys.modules
"""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            program,
            str(saved / "model.keras"),
            str(paths["saved_model"]),
            str(tmp_path / "x.npy"),
            str(tmp_path / "y.npy"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_sequential_models(tmp_path):
    model = LossAwareSequential([keras.Input((3,)), keras.layers.Dense(2, name="out")])
    save_for_inference(model, tmp_path / "s")
    loaded = load_for_inference(tmp_path / "s")
    assert type(loaded) is keras.Sequential
    np.testing.assert_array_equal(loaded(X["features"]), model(X["features"]))
    export_serving(model, tmp_path / "served")


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


def test_nothing_is_overwritten(model, saved):
    with pytest.raises(ValueError, match="nothing is overwritten"):
        save_for_inference(model, saved)


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


@pytest.mark.parametrize("name", ["m.h5", "m.keras", "m.pkl", "m.weights.h5"])
def test_files_are_not_opened(tmp_path, name):
    (tmp_path / name).write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(ValueError, match="which is not opened"):
        load_for_inference(tmp_path / name)


def test_foreign_directories_are_refused(tmp_path, model):
    with pytest.raises(ValueError, match="no such directory"):
        load_for_inference(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"MANIFEST\.json`. Received: none"):
        load_for_inference(tmp_path / "empty")
    export_serving(model, tmp_path / "served")
    with pytest.raises(ValueError, match=r"MANIFEST\.json"):
        load_for_inference(tmp_path / "served" / "saved_model")


def test_changed_files_are_refused_before_parsing(saved):
    path = saved / "model.keras"
    good = path.read_bytes()
    for share in (0, 0.3, 0.9, 0.999):
        path.write_bytes(good[: int(len(good) * share)])
        with pytest.raises(ValueError, match="must be as it was written"):
            load_for_inference(saved)
    for at in range(0, len(good), len(good) // 40):
        changed = bytearray(good)
        changed[at] ^= 1
        path.write_bytes(changed)
        with pytest.raises(ValueError, match="other content, by SHA-256"):
            load_for_inference(saved)
    path.write_bytes(good)
    load_for_inference(saved)


@pytest.mark.parametrize("member", ["../evil.txt", "assets/../../evil", "code.py", "/etc/x"])
def test_forged_archives_are_refused(saved, member):
    with zipfile.ZipFile(saved / "model.keras", "a") as archive:
        archive.writestr(member, "x")
    resealed(saved)
    with pytest.raises(ValueError, match="It is not opened"):
        load_for_inference(saved)


def test_archives_that_unpack_to_much_more_are_refused(saved):
    with zipfile.ZipFile(saved / "model.keras", "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("assets/bomb", b"\0" * 10**7)
    resealed(saved)
    with pytest.raises(ValueError, match="must not unpack to much more"):
        load_for_inference(saved)


def rewritten(path, change):
    with zipfile.ZipFile(path / "model.keras") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["config.json"] = change(members["config.json"].decode()).encode()
    with zipfile.ZipFile(path / "model.keras", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    resealed(path)


def test_forged_configs_are_refused(saved, tmp_path):
    shutil.copytree(saved, tmp_path / "b")
    rewritten(saved, lambda text: text.replace('"Dense"', '"Lambda"'))
    with pytest.raises(ValueError, match="must not hold Python code"):
        load_for_inference(saved)
    rewritten(tmp_path / "b", lambda text: text.replace('"keras.layers"', '"subprocess"'))
    with pytest.raises(ValueError, match="Keras's own classes"):
        load_for_inference(tmp_path / "b")
    (saved / "model.keras").write_text("no zip")
    resealed(saved)
    with pytest.raises(ValueError, match="no zip file"):
        load_for_inference(saved)


@pytest.mark.parametrize("name", ["litert", "onnx"])
def test_other_runtimes_predict_the_same(model, tmp_path, name):
    path = export_serving(model, tmp_path / "served", (name,))[name]
    assert path.stat().st_size > 500


def test_an_export_that_does_not_run_is_deleted(tmp_path):
    inputs = keras.Input((1,), dtype="string", name="word")
    lookup = keras.layers.StringLookup(vocabulary=["a", "b"])
    model = keras.Model(inputs, keras.layers.Embedding(4, 1)(lookup(inputs)))
    golden = {"word": np.array([["a"], ["z"]])}
    with pytest.raises(ValueError, match="`golden` must be given for the input 'word'"):
        export_serving(model, tmp_path / "served")
    export_serving(model, tmp_path / "served", golden=golden)
    with pytest.raises(ValueError, match="must run in the runtime of 'onnx'"):
        export_serving(model, tmp_path / "onnx", ("saved_model", "onnx"), golden=golden)
    assert os.listdir(tmp_path) == ["served"]


def test_bad_arguments_of_an_export(model, tmp_path):
    with pytest.raises(ValueError, match="`formats` must be of"):
        export_serving(model, tmp_path / "x", ("h5",))
    with pytest.raises(ValueError, match="`golden` must have the inputs"):
        export_serving(model, tmp_path / "x", golden={"query_id": X["query_id"]})
    with pytest.raises(ValueError, match="`directory` must not exist"):
        export_serving(model, tmp_path)
