"""The network in other runtimes, and in a process without the library."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_trainsteps.rolling import export_serving
from tests.rolling.models import ranking_data

X, Y = ranking_data()
SERVED = X["features"]


@pytest.mark.slow
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
