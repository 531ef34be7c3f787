"""Logs and refusals on two replicas, all of one process."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from tests.toy import MSE, SQUARES, close

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def found():
    worker = subprocess.run(
        [sys.executable, "-m", "tests.replicas.edges"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert worker.returncode == 0, worker.stderr[-3000:]
    return json.loads(worker.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("overridden", 3 * MSE),
        ("sum", np.mean([SQUARES[:5].sum(), SQUARES[5:].sum()])),
        ("reduced", MSE),
    ],
    ids=["an overridden loss is whole", "a sum is over the batch", "a mean weighs as its rows"],
)
def test_the_loss_is_logged_as_on_one_device(found, case, expected):
    assert found[case]["loss"] == close(expected)


def test_logged_sums_are_exact_beyond_float32(found):
    assert found["large"]["large"] == 2**24 + 1


@pytest.mark.parametrize(
    ("case", "rule"),
    [
        ("steps_per_execution", "`steps_per_execution` must be 1 with several replicas"),
        ("by hand", "`train_step` must call `super().train_step(data)` on several replicas"),
    ],
)
def test_what_replicas_cannot_do_is_refused(found, case, rule):
    assert rule in found[case]
