"""The scorer alone: what is in the file, who can load it, what is refused."""

import json
import os
import pickle
import shutil
import zipfile

import keras
import numpy as np
import pytest

from keras_trainsteps.rolling import (
    export_serving,
    fingerprint,
    load_for_inference,
    save_for_inference,
)
from keras_trainsteps.rolling.disk import manifest
from tests.rolling.models import ranking_data

X, Y = ranking_data()
SERVED = X["features"]


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


def test_nothing_is_overwritten(model, saved):
    with pytest.raises(ValueError, match="nothing is overwritten"):
        save_for_inference(model, saved)


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
