"""Two replicas, and two workers, give the numbers of one device.

Each strategy has a process of its own: strategies of one process disturb each other.
"""

import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest

# Batches of 4 rows, the last of 3; of 11 rows as 6 and 5; of 5 rows and a last one of 1,
# which leaves one replica without a row. Queries are cut wherever a batch is halved.
CASES = ["hook/5", "added/5", "masked/5"]
MORE_CASES = [
    "hook/4",
    "compiled weighted mean/5",
    "hook/11",
    "hook/queries",
    "compiled mse/5",
    "compiled sum/5",
    "compiled function/4",
    "compiled pairwise/5",
]
WORKER_CASES = ["hook/5", "hook/4", "added/5", "hook/11", "compiled pairwise/5"]


def start(path, kind, cases, **environment):
    command = [sys.executable, "-m", "tests.replicas.training", str(path), kind, *cases]
    log = path.with_suffix(".log").open("w")
    with log:
        return subprocess.Popen(
            command,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
            stdout=log,
            stderr=log,
        )


def finished(path, process):
    process.wait(timeout=500)
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


@pytest.mark.parametrize(
    "cases", [CASES, pytest.param(MORE_CASES, marks=pytest.mark.slow)], ids=["few", "more"]
)
def test_two_replicas_equal_one_device(cases, tmp_path):
    one_device, mirrored = (
        finished(path, start(path, kind, cases))
        for path, kind in (
            (tmp_path / "one.json", "one"),
            (tmp_path / "two.json", "mirrored"),
        )
    )
    for case in cases:
        assert_same_numbers(mirrored[case], one_device[case])


@pytest.mark.slow
def test_two_workers_equal_one_process(tmp_path):
    with (
        socket.create_server(("127.0.0.1", 0)) as first,
        socket.create_server(("127.0.0.1", 0)) as second,
    ):
        ports = [server.getsockname()[1] for server in (first, second)]
    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
    paths, processes = [], []
    for index in range(2):
        config = {"cluster": cluster, "task": {"type": "worker", "index": index}}
        paths.append(tmp_path / f"worker{index}.json")
        processes.append(start(paths[-1], "worker", WORKER_CASES, TF_CONFIG=json.dumps(config)))
    try:
        workers = [finished(*pair) for pair in zip(paths, processes, strict=True)]
    finally:
        for process in processes:
            process.kill()
    one_process = finished(
        tmp_path / "one.json", start(tmp_path / "one.json", "one", WORKER_CASES)
    )
    for case in WORKER_CASES:
        for worker in workers:
            assert_same_numbers(worker[case], one_process[case])
