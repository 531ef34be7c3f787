"""Two replicas, and two workers, give the numbers of one device, or say that they cannot.

Each strategy has a process of its own: strategies of one process disturb each other.
"""

import json
import os
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.toy import MAE, MSE, SQUARES, close

# Batches of 4 rows, the last of 3; of 11 rows as 6 and 5; of 5 rows and a last one of 1,
# which leaves one replica without a row. Queries are cut wherever a batch is halved.
CASES = [
    "activity/5",
    "micro-batches/11",
    "added/5",
    "objectives/5",
    "objectives/11",
    "masked/5",
    "hook/5",
    "hook/4",
    "compiled weighted mean/5",
    "hook/11",
    "hook/queries",
    "compiled mse/5",
    "compiled sum/5",
    "compiled function/4",
    "compiled pairwise/5",
]
WORKER_CASES = ["hook/5", "objectives/5", "hook/4", "added/5", "hook/11", "compiled pairwise/5"]


def start(path, kind, cases, **environment):
    return run(path, "tests.replicas.training", str(path), kind, *cases, **environment)


def run(path, module, *arguments, **environment):
    command = [sys.executable, "-m", module, *arguments]
    log = path.with_suffix(".log").open("w")
    with log:
        return subprocess.Popen(
            command,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
            stdout=log,
            stderr=log,
        )


def finished(path, process, timeout=900):
    process.wait(timeout)
    assert process.returncode == 0, path.with_suffix(".log").read_text()[-3000:]
    return json.loads(path.read_text())


def assert_same_numbers(found, expected):
    assert found.keys() == expected.keys()
    assert found["history"].keys() == expected["history"].keys()
    for part in ("history", "evaluate"):
        for name, values in expected[part].items():
            np.testing.assert_allclose(
                found[part][name], values, rtol=2e-6, atol=1e-6, err_msg=f"{part} {name}"
            )
    for found_batch, batch in zip(found["batches"], expected["batches"], strict=True):
        for name, value in batch.items():
            np.testing.assert_allclose(found_batch[name], value, rtol=2e-6, atol=1e-6)
    for part in ("weights", "predict"):
        for values, wanted in zip(found[part], expected[part], strict=True):
            np.testing.assert_allclose(values, wanted, atol=1e-6, err_msg=part)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What replicas log and refuse, asked once for all processes of the tests."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    path, mine = base / "replicas.json", base / "replicas.pid"
    try:
        os.close(os.open(mine, os.O_CREAT | os.O_EXCL))
    except FileExistsError:  # another process has begun it
        until = time.monotonic() + 500
        while not path.exists() and time.monotonic() < until:
            time.sleep(0.5)
        return json.loads(path.read_text())
    written = path.with_suffix(".part")
    try:
        return finished(written, start(written, "mirrored", ["edges"]))
    finally:
        if written.exists():
            written.replace(path)


@pytest.mark.slow
def test_two_replicas_equal_one_device(tmp_path):
    path = tmp_path / "found.json"
    both = finished(path, start(path, "mirrored", CASES))
    for case in CASES:
        assert_same_numbers(both["replicas"][case], both["one device"][case])


def workers(paths, command):
    """What two workers write, each started by `command` with its path and index."""
    with (
        socket.create_server(("127.0.0.1", 0)) as first,
        socket.create_server(("127.0.0.1", 0)) as second,
    ):
        ports = [server.getsockname()[1] for server in (first, second)]
    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
    processes = []
    for index, path in enumerate(paths):
        config = {"cluster": cluster, "task": {"type": "worker", "index": index}}
        processes.append(run(path, *command(path, index), TF_CONFIG=json.dumps(config)))
    try:
        return [finished(*pair) for pair in zip(paths, processes, strict=True)]
    finally:
        for process in processes:
            process.kill()


@pytest.mark.slow
def test_two_workers_equal_one_process(tmp_path):
    paths = [tmp_path / f"worker{index}.json" for index in range(2)]
    found = workers(
        paths,
        lambda path, index: ("tests.replicas.training", str(path), "worker", *WORKER_CASES),
    )
    one_process = finished(
        tmp_path / "one.json", start(tmp_path / "one.json", "one", WORKER_CASES)
    )
    for case in WORKER_CASES:
        for worker in found:
            assert_same_numbers(worker["replicas"][case], one_process["one device"][case])


@pytest.mark.slow
def test_workers_that_differ_are_refused_before_their_first_step(tmp_path):
    paths = [tmp_path / f"worker{index}.json" for index in range(2)]
    found = workers(paths, lambda path, index: ("tests.replicas.workers", str(path), str(index)))
    for worker in found:
        assert worker.pop("nothing") == "nothing"
        for name, text in worker.items():
            assert f"Received: workers that differ in ['{name}']" in text


@pytest.mark.slow
def test_a_step_around_that_of_the_library_trains_as_it():
    command = [sys.executable, "-m", "tests.replicas.own_steps"]
    process = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert process.returncode == 0, process.stderr[-3000:]


# What replicas log, and what they cannot do


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("overridden", 3 * MSE),
        ("sum", np.mean([SQUARES[:5].sum(), SQUARES[5:].sum()])),
        ("reduced", MSE),
    ],
    ids=[
        "an overridden loss is whole",
        "a sum is over the batch",
        "a mean weighs as its rows",
    ],
)
def test_the_loss_is_logged_as_on_one_device(found, case, expected):
    assert found["edges"][case]["loss"] == close(expected)


def test_the_terms_of_an_overridden_loss_are_logged_as_on_one_device(found):
    logs = found["edges"]["components"]
    assert logs == {
        "loss": close(3 * (MSE + MAE)),
        "mse_loss": close(MSE),
        "mae_loss": close(MAE),
    }


def test_logged_sums_are_exact_beyond_float32(found):
    assert found["edges"]["large"]["large"] == 2**24 + 1


@pytest.mark.parametrize(
    ("case", "rule"),
    [
        ("steps_per_execution", "`steps_per_execution` must be 1 with several replicas"),
        ("jit_compile", "`jit_compile` must be `False` with several replicas"),
        ("made outside", "Received: a model made outside of any, within the scope of a Mirrored"),
        ("accumulate_steps", "`accumulate_steps` must be 1 on replicas"),
        ("filled", "must not be filled up for several replicas"),
        ("by hand", "`train_step` must call `super().train_step(data)` on several replicas"),
    ],
)
def test_what_replicas_cannot_do_is_refused(found, case, rule):
    assert rule in found["edges"][case]
