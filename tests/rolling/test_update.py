"""The daily loop and its command line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_trainsteps.rolling import (
    ModelRegistry,
    Stability,
    fingerprint,
    load_published,
    publish_model,
    warm_start,
)
from keras_trainsteps.rolling.cli import main
from tests.rolling import daily_job
from tests.rolling.models import ranker

JOB = "tests.rolling.daily_job:job"


@pytest.fixture
def registry(tmp_path):
    return ModelRegistry(tmp_path / "models")


@pytest.fixture
def cli(registry, capsys):
    """Runs a command on the registry; returns its exit code and what it printed."""

    def run(*arguments):
        code = main([*arguments, "--registry", str(registry.directory)])
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    return run


# Publishing


def test_a_version_serves_trains_and_can_be_watched(registry):
    model = ranker()
    model.compile("adam")
    number = publish_model(registry, model, saved_model=True, data_window=("a", "b"))
    found = registry.verify(number)
    assert {"saved_model.pb", "inference/model.keras", "training/state.bin"} <= set(found.files)
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


# The loop


def test_days_build_on_each_other(registry):
    update, said = daily_job.update(registry, retain=2), []
    reports = [update.run(daily_job.window(day), progress=said.append) for day in range(4)]
    assert [report.version for report in reports] == [1, 2, 3, 4]
    assert [report.champion for report in reports] == [None, 1, 2, 3]
    assert all(report.promoted for report in reports)
    errors = [report.prequential["squared_error"] for report in reports[1:]]
    assert errors[-1] < errors[0]
    assert reports[0].started is None
    assert set(reports[1].started.loaded) == {"score/kernel", "score/bias"}
    assert registry.versions() == [3, 4]
    assert registry.get(4).parent == 3
    assert registry.get(4).data_window == ("day 3", "day 4")
    assert registry.rollback() == 3
    assert said[:2] == ["fit", "gate"]
    assert "version 4 is champion; champion before: 3" in str(reports[3])


def test_a_worse_candidate_is_published_but_not_promoted(registry, monkeypatch):
    update = daily_job.update(registry)
    update.run(daily_job.window(0))
    monkeypatch.setenv("DAILY_JOB", "worse")
    report = update.run(daily_job.window(1))
    assert not report.promoted
    assert registry.aliases() == {"champion": 1, "challenger": 2}
    assert not registry.blessing(2).blessed


def test_nan_empty_windows_and_mismatches_publish_nothing(registry, monkeypatch):
    update = daily_job.update(registry)
    update.run(daily_job.window(0))
    with pytest.raises(ValueError, match=r"`window.train` must have rows"):
        update.run(daily_job.window(1, rows=0))
    monkeypatch.setenv("DAILY_JOB", "nan")
    with pytest.raises(ValueError, match="`fit` must leave finite weights"):
        update.run(daily_job.window(1))
    monkeypatch.setenv("DAILY_JOB", "")
    update.build = lambda: keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="`source` must match the model"):
        update.run(daily_job.window(1))
    assert registry.versions() == [1]


def test_a_window_of_new_ids_alone_is_not_trusted(registry):
    update = daily_job.update(
        registry, stability=Stability(max_new=0.5), new_ids=lambda x: x[:, 0] > known
    )
    known = 9.0  # all rows
    assert update.run(daily_job.window(0)).promoted
    known = -9.0  # none
    report = update.run(daily_job.window(1))
    assert [check.name for check in report.blessing.failed] == ["new ids"]
    assert registry.aliases()["champion"] == 1
    with pytest.raises(ValueError, match="`new_ids` must be given"):
        daily_job.update(registry, stability=Stability(max_new=0.5))


def test_a_dry_run_changes_nothing(registry):
    report = daily_job.update(registry).run(daily_job.window(0), dry_run=True)
    assert report.blessing.blessed
    assert report.version is None
    assert registry.versions() == []
    assert registry.aliases() == {}


# The command line


def test_a_week_on_the_command_line(cli, registry, monkeypatch):
    assert cli("update", JOB, "--dry-run")[0] == 0
    assert registry.versions() == []
    for _ in range(2):
        code, printed = cli("update", JOB)
        assert code == 0, printed
        assert "blessed" in printed
        assert "... gate" in printed
    monkeypatch.setenv("DAILY_JOB", "worse")
    code, printed = cli("update", JOB)
    assert code == 3
    assert "FAIL  squared_error gain" in printed
    assert cli("promote", "3")[0] == 3
    for kind in ("nan", "empty"):
        monkeypatch.setenv("DAILY_JOB", kind)
        assert cli("update", JOB)[0] == 4
    code, printed = cli("list")
    assert code == 0
    assert printed.splitlines()[2].endswith("champion")
    found = json.loads(cli("list", "--json")[1])
    assert [version["parent"] for version in found] == [None, 1, 2]
    assert found[1]["aliases"] == ["champion"]
    assert cli("rollback", "--dry-run")[0] == 0
    assert registry.aliases()["champion"] == 2
    for _ in range(2):  # repeated by cron: nothing more happens
        assert cli("rollback", "--from", "2") == (0, "champion is version 1\n")
    assert cli("rollback")[0] == 4
    code, printed = cli("load")
    assert code == 0
    assert "3 weights load from version champion" in printed
    assert "features" in printed
    assert cli("verify")[0] == 0
    state = registry.directory / "3" / "training" / "state.bin"
    state.write_bytes(state.read_bytes()[:-1])
    code, printed = cli("verify")
    assert code == 4
    assert "3: not whole" in printed
    assert cli("verify", "champion") == (0, "champion: whole, 4 files\n")


def test_promote_wants_the_recorded_blessing(cli, registry):
    daily_job.update(registry).run(daily_job.window(0))
    assert cli("promote", "1", "--dry-run")[0] == 0
    assert cli("promote", "1")[1].endswith("champion is version 1\n")
    code, printed = cli("promote", "9")
    assert code == 4
    assert "`which` must be a version" in printed
    number = registry.publish(lambda stage: (stage / "x").write_text("x"))
    code, printed = cli("promote", str(number))
    assert code == 4
    assert "must have been through the gate" in printed


def test_a_dry_run_says_what_would_happen(tmp_path, cli, registry, capsys):
    assert main(["update", JOB, "--dry-run", "--registry", str(tmp_path / "new")]) == 0
    assert "dry run: the candidate would become champion" in capsys.readouterr().out
    assert not (tmp_path / "new").exists()
    for day in range(2):
        daily_job.update(registry).run(daily_job.window(day))
    code, printed = cli("promote", "1", "--dry-run")
    assert code == 4  # its blessing is from before version 2 was champion
    assert "champion" in printed
    assert cli("rollback", "--dry-run") == (0, "champion would be version 1 (dry run)\n")
    dry = cli("rollback", "--from", "1", "--dry-run")
    assert dry == (0, "champion would be version 2 (dry run)\n")
    assert registry.aliases()["champion"] == 2


@pytest.mark.parametrize(
    "job",
    ["nowhere", "no.such:job", "tests.rolling.daily_job:no", "os.path:sep", "builtins:id"],
)
def test_jobs_that_cannot_be_found(cli, job):
    code, printed = cli("update", job)
    assert code == 4
    assert "`job` must" in printed


def test_a_missing_registry_is_not_made_by_looking(tmp_path, capsys):
    assert main(["list", "--registry", str(tmp_path / "none")]) == 4
    assert not (tmp_path / "none").exists()
    assert main(["list", "--registry", str(tmp_path)]) == 4
    assert not list(tmp_path.iterdir())
    assert "the first `update` makes a registry" in capsys.readouterr().err


def test_the_module_runs_and_explains_itself(tmp_path):
    program = [sys.executable, "-m", "keras_trainsteps.rolling"]
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run([*program, "--help"], capture_output=True, text=True, env=environment)
    assert done.returncode == 0
    for word in ("update", "promote", "rollback", "verify", "exit codes", "3  the candidate"):
        assert word in done.stdout
    with pytest.raises(SystemExit, match="2"):
        main([])
