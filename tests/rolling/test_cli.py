"""The command line of the daily loop."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from keras_trainsteps.rolling import ModelRegistry
from keras_trainsteps.rolling.cli import main
from tests.rolling import daily_job

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


@pytest.mark.slow
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
    state = registry.directory / "3" / "training" / "state.safetensors"
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


def test_what_is_broken_is_said_beside_the_rest_and_repaired(cli, registry):
    for _ in range(3):
        registry.publish(lambda stage: (stage / "x").write_text("x"))
    registry.set_alias("stable", 1)
    registry.set_alias("best", 2)
    (registry.directory / "3" / "MANIFEST.json").write_text("{")
    (registry.directory / "aliases" / "best.json").write_text('{"version": "stable"}')
    code, printed = cli("list")
    assert code == 4
    assert "not readable: version 3: " in printed
    assert "not readable: alias best: " in printed
    rows = [line for line in printed.splitlines() if line.startswith("      ")]
    assert [row.split()[0] for row in rows] == ["1", "2"]
    assert rows[0].endswith("stable")
    code, printed = cli("verify")
    assert code == 4
    assert "1: whole" in printed
    assert "3: not whole" in printed
    assert "alias best: " in printed
    code, printed = cli("repair", "--dry-run")
    assert code == 0
    assert printed.endswith("(dry run: nothing was changed)\n")
    assert cli("verify")[0] == 4
    assert "version 3 set aside" in cli("repair")[1]
    assert cli("repair") == (0, "nothing to repair\n")
    assert cli("verify")[0] == cli("list")[0] == 0


@pytest.mark.slow
def test_the_module_runs_and_explains_itself(tmp_path):
    program = [sys.executable, "-m", "keras_trainsteps.rolling"]
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run([*program, "--help"], capture_output=True, text=True, env=environment)
    assert done.returncode == 0
    for word in (
        "update",
        "promote",
        "rollback",
        "verify",
        "repair",
        "exit codes",
        "3  the candidate",
    ):
        assert word in done.stdout
    with pytest.raises(SystemExit, match="2"):
        main([])
