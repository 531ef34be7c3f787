"""The directory of a job: what is in it after a save, an opening, a closing."""

import os

import numpy as np

from keras_trainsteps.rolling.disk import files
from keras_trainsteps.rolling.resume.directory import CheckpointDirectory

JOB = {"run_id": "monday"}


def about(epoch, steps=0):
    return {"epoch": epoch, "steps": steps, "stopped": False}


def values(number):
    return {"weight|a": np.full(3, number, "float32")}


def names(directory):
    return sorted(os.listdir(directory))


def test_a_checkpoint_of_the_same_moment_replaces_the_one_that_is_there(tmp_path):
    store = CheckpointDirectory(tmp_path, keep=2)
    with store.opened(JOB):
        for number in (1.0, 2.0):
            store.save(about(1), values(number))
            assert store.latest().values["weight|a"].tolist() == [number] * 3
            store.save(about(1), values(number), final=True)
            assert store.final().values["weight|a"].tolist() == [number] * 3
    assert names(tmp_path) == [".owner", "final", "run.json", "step-00000001-000000000000"]


def test_no_spare_checkpoint_is_left_after_the_job(tmp_path):
    store = CheckpointDirectory(tmp_path, keep=1)
    with store.opened(JOB):
        for epoch in (1, 2, 3):
            store.save(about(epoch), values(epoch))
        assert [name for name in names(tmp_path) if name.startswith(files.TRASH)]
    assert names(tmp_path) == [".owner", "run.json", "step-00000003-000000000000"]


def test_opening_removes_what_killed_writers_left(tmp_path):
    for prefix in (files.STAGE, files.TRASH):
        (tmp_path / f"{prefix}left").mkdir()
        (tmp_path / f"{prefix}left" / "state.bin").write_text("x")
    with CheckpointDirectory(tmp_path, keep=1).opened(JOB):
        assert names(tmp_path) == [".owner", "run.json"]


def test_the_name_of_a_new_checkpoint_is_synced(tmp_path, monkeypatch):
    done = []
    rename, sync = files.rename_new, files.sync_directory
    monkeypatch.setattr(
        files, "rename_new", lambda *paths: (done.append(paths[1]), rename(*paths))[1]
    )
    monkeypatch.setattr(files, "sync_directory", lambda path: (done.append(path), sync(path))[1])
    store = CheckpointDirectory(tmp_path, keep=1)
    with store.opened(JOB):
        done.clear()
        store.save(about(1), values(1))
    assert done[-2:] == [tmp_path.resolve() / "step-00000001-000000000000", tmp_path.resolve()]


def test_a_new_job_and_a_complete_one_are_told_apart(tmp_path):
    store = CheckpointDirectory(tmp_path, keep=2)
    with store.opened(JOB):
        begin = store.begin(2)
        assert (begin.epoch, begin.steps, begin.complete, begin.final) == (0, 0, False, False)
        store.save(about(2), values(1))
        assert [store.begin(epochs).complete for epochs in (1, 2, 3)] == [True, True, False]
        store.save(about(2), values(2), final=True)
        assert [store.begin(epochs).final for epochs in (2, 3)] == [True, False]
        store.save(about(2, 1), values(3))  # within the third epoch
        assert [store.begin(epochs).complete for epochs in (2, 3)] == [False, False]
