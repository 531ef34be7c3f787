"""The registry under SIGKILL, a failing disk, several writers and readers."""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SCENARIOS = (
    "kills",
    "kills_of_the_first_day",
    "kills_of_a_rollback",
    "twice_in_a_row",
    "broken_disk",
    "full_disk",
    "read_only",
    "two_writers",
    "readers",
)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_registry_survives(scenario):
    found = run("registry_faults.py", scenario)
    if scenario == "kills":
        assert found["steps"] > 25  # publishing, three aliases, retention
    if scenario == "readers":
        assert found["killed"] > 10
        assert found["read"] > 100


@pytest.mark.parametrize("examples", [15, pytest.param(150, marks=pytest.mark.slow)])
def test_random_days_with_crashes(examples):
    found = run("registry_machine.py", str(examples))
    assert found["operations"] > 3 * examples
    assert found["crashes"] > examples / 2


def run(program, what):
    """Runs a program of this folder on a directory of its own; returns what it printed."""
    base = Path(tempfile.mkdtemp())  # not `tmp_path`: another user has to reach it
    base.chmod(0o755)
    try:
        done = subprocess.run(
            [sys.executable, program, what, str(base / "registry")],
            cwd=HERE,
            capture_output=True,
            text=True,
            timeout=300,
        )
    finally:
        shutil.rmtree(base, ignore_errors=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)
