"""The registry under SIGKILL, a failing disk, several writers and readers."""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
MEMORY = Path("/dev/shm")  # kills and errors need no real disk, which would be slow
SCENARIOS = (
    "kills",
    pytest.param("kills_of_the_first_day", marks=pytest.mark.slow),
    pytest.param("kills_of_a_rollback", marks=pytest.mark.slow),
    pytest.param("twice_in_a_row", marks=pytest.mark.slow),
    "broken_disk",
    pytest.param("other_disk_errors", marks=pytest.mark.slow),
    "full_disk",
    "read_only",
    "two_writers",
    "readers",
)


@pytest.mark.slow
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_registry_survives(scenario):
    found = run("crashes", scenario)
    if scenario == "kills":
        assert found["steps"] > 25  # publishing, three aliases, retention
    if scenario == "twice_in_a_row":
        assert found["killed"] == ["write", "replace", "rmdir"]
    if scenario == "readers":
        assert found["killed"] > 10
        assert found["read"] > 100


@pytest.mark.parametrize("examples", [15, pytest.param(150, marks=pytest.mark.slow)])
def test_random_days_with_crashes(examples):
    found = run("random_days", str(examples))
    assert found["operations"] > 3 * examples
    assert found["crashes"] > examples / 2


def run(program, what):
    """Runs a module of this folder on a directory of its own; returns what it printed."""
    place = MEMORY if MEMORY.is_dir() else None
    base = Path(tempfile.mkdtemp(dir=place))  # not `tmp_path`: another user has to reach it
    base.chmod(0o755)
    module = f"tests.rolling.registry.{program}"
    try:
        done = subprocess.run(
            [sys.executable, "-m", module, what, str(base / "registry")],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=300,
        )
    finally:
        shutil.rmtree(base, ignore_errors=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)
