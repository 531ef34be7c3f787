"""A manifest that was changed and given a new digest is refused as what it is: damaged."""

import copy
import json
import os
import shutil

import keras
import numpy as np
import pytest

from keras_trainsteps.rolling import load_for_inference, save_for_inference, save_for_training
from keras_trainsteps.rolling.artifacts.model_state import read_state
from keras_trainsteps.rolling.disk import fields, manifest
from keras_trainsteps.rolling.registry.registry import ModelRegistry
from keras_trainsteps.rolling.resume.directory import CheckpointDirectory
from tests.rolling.registry.days import publish

OTHER = (None, True, 1.5, -1, "x", [], [None], {}, {"x": None})


def model():
    found = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    found.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss="mse")
    found.optimizer.build(found.trainable_variables)
    return found


def version(path):
    registry = ModelRegistry(path)
    publish(registry, metrics={"ndcg": 0.5}, data_window=("a", "b"))
    return registry.directory / "1", lambda: (registry.get(1), registry.verify(1))


def inference(path):
    save_for_inference(model(), path)
    return path, lambda: load_for_inference(path)


def training(path):
    save_for_training(model(), path)
    return path, lambda: read_state(path)


def checkpoint(path):
    store = CheckpointDirectory(path, keep=1)
    with store.opened({"run_id": "x"}):
        about = {"epoch": 1, "steps": 0, "stopped": False, "history": {}, "callbacks": []}
        store.save(about, {"weight|a": np.ones(2)})
        store.save(about, {"weight|a": np.ones(2)}, final=True)
    return path / "final", lambda: store._read("final")


def paths(value, depth=3):
    """The ways to all entries."""
    if isinstance(value, dict) and depth:
        for key in value:
            yield (key,)
            yield from ((key, *rest) for rest in paths(value[key], depth - 1))


def changed(body):
    """A body with one entry gone, or another thing in its place."""
    for way in paths(body):
        for other in ("gone", *OTHER):
            new = copy.deepcopy(body)
            inner = new
            for key in way[:-1]:
                inner = inner[key]
            if other == "gone":
                del inner[way[-1]]
            else:
                inner[way[-1]] = other
            yield new


@pytest.mark.parametrize("make", [version, inference, training, checkpoint])
def test_resealed_manifests_are_damaged_or_whole(tmp_path, make, monkeypatch):
    # What Keras reads is not changed here.
    monkeypatch.setattr(keras.saving, "load_model", lambda *_, **__: "a model")
    directory, read = make(tmp_path / "it")
    read()
    path = directory / manifest.NAME
    body = json.loads(path.read_text())
    refused = 0
    for new in changed(body):
        new["digest"] = manifest.digest(new)
        path.write_text(json.dumps(new))
        try:
            read()
        except ValueError:
            refused += 1
    assert refused > 50


@pytest.mark.parametrize("cut", ["empty", "half", "zip of nothing", "config", "no weights"])
def test_resealed_archives_are_refused(tmp_path, cut):
    directory, read = inference(tmp_path / "it")
    path = directory / "model.keras"
    content = path.read_bytes()
    shutil.unpack_archive(path, tmp_path / "in", "zip")
    if cut == "config":
        (tmp_path / "in" / "config.json").write_text('{"class_name": "Dense", "config": {}}')
    elif cut == "no weights":
        os.unlink(tmp_path / "in" / "model.weights.h5")
    elif cut == "zip of nothing":
        shutil.rmtree(tmp_path / "in")
        (tmp_path / "in").mkdir()
    os.unlink(path)
    if cut in ("empty", "half"):
        path.write_bytes(content[: len(content) // 2] if cut == "half" else b"")
    else:
        shutil.make_archive(tmp_path / "new", "zip", tmp_path / "in")
        os.rename(tmp_path / "new.zip", path)
    body = json.loads((directory / manifest.NAME).read_text())
    about = body["about"]
    os.unlink(directory / manifest.NAME)
    manifest.seal(directory, "inference", about)
    with pytest.raises(ValueError, match=r"model\.|Keras's own classes"):
        read()


def test_a_linked_folder_of_a_version_is_not_loaded(tmp_path):
    from keras_trainsteps.rolling import load_published, publish_model

    registry = ModelRegistry(tmp_path / "models")
    publish_model(registry, model())
    folder = registry.directory / "1" / "inference"
    os.rename(folder, tmp_path / "outside")
    folder.symlink_to(tmp_path / "outside")
    with pytest.raises(ValueError, match="a link or special"):
        load_published(registry, 1)


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (fields.COUNT, (0, 5), (True, 1.0, -1, "1", None)),
        (fields.NUMBER, (1,), (0, True, 1.7, float("inf"))),
        (fields.REAL, (1, 0.5, float("nan")), (True, "1", None)),
        (fields.optional(fields.TEXT), (None, "a"), (1, ["a"])),
        (fields.list_of(fields.TEXT, 2), (["a", "b"],), (["a"], "ab", ("a", "b"), None)),
        (fields.object_of(fields.BOOL), ({}, {"a": True}), ({"a": 1}, [])),
        (fields.record({"a": fields.COUNT}), ({"a": 1, "b": 2},), ({}, {"a": "1"}, [])),
    ],
)
def test_kinds_of_values(kind, good, bad):
    assert all(map(kind.holds, good))
    assert not any(map(kind.holds, bad))
