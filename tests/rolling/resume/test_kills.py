"""Jobs killed at any moment and resumed, compared to the bit with jobs left alone."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def run(tmp_path, *suites):
    done = subprocess.run(
        [sys.executable, "-m", "tests.rolling.resume.kills", str(tmp_path), *suites],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert done.returncode == 0, done.stdout[-500:] + done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.mark.slow
def test_jobs_that_are_killed_end_as_if_never_killed(tmp_path):
    # One process for all: TensorFlow is imported once, each job is a fork of it.
    assert run(tmp_path, "some_kills", "two_trainers")["some_kills"] == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "suite",
    [
        "some_endings",
        "some_cases",
        "cases",
        "complete",
        "some_disk",
        "epoch_ends",
        "moments",
        "moments_of_ranking",
        "any_time",
        "twice",
        "disk",
        "broken_disk",
        "longer",
        "artefacts",
        "warm_starts",
        "replicas",
    ],
)
def test_every_kind_of_job_and_moment(tmp_path, suite):
    assert run(tmp_path, suite)[suite]
