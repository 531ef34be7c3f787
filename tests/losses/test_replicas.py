"""Every loss under a strategy of two replicas."""

import pathlib
import subprocess
import sys

import pytest

from tests.losses.every_loss import CASES

ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.slow
def test_two_replicas_give_the_numbers_of_one_device():
    # Strategies of one process disturb each other: this one has its own.
    worker = subprocess.run(
        [sys.executable, "-m", "tests.losses.replica_worker"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert worker.returncode == 0, worker.stderr[-3000:]
    lines = [line.split("\t") for line in worker.stdout.splitlines() if "\t" in line]
    assert len(lines) > len(CASES)
    assert [line for line in lines if not float(line[2]) <= 1e-12] == []
