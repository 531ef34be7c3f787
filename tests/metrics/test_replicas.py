"""Every metric by query under a strategy of two replicas."""

import pathlib
import subprocess
import sys

import pytest

from tests.metrics.replica_worker import TWICE, builds

ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.slow
def test_two_replicas_give_the_values_of_one_device():
    # Strategies of one process disturb each other: this one has its own.
    worker = subprocess.run(
        [sys.executable, "-m", "tests.metrics.replica_worker"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert worker.returncode == 0, worker.stderr[-3000:]
    lines = [line.split("\t") for line in worker.stdout.splitlines() if "\t" in line]
    assert len(lines) == len(builds()) + len(TWICE)
    assert [line for line in lines if not float(line[2]) <= 1e-12] == []
