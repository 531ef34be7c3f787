"""Runs Keras's tests on both sides, and compares them."""

import os
import pickle
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np

SOURCE = Path(keras.__file__).parent / "src"
PROJECT = Path(__file__).parents[2]
FOLDERS = ("trainers", "models", "saving", "callbacks")  # where models are what is tested


class Compared(NamedTuple):
    """A test of Keras, on both sides.

    Attributes:
        name: Its module and name.
        built: Whether it built a model of ours.
        difference: What differs; empty where nothing does.
        outcome: That of Keras's own classes.
    """

    name: str
    built: bool
    difference: str
    outcome: str


def modules_in(*folders):
    """The test modules in these folders of Keras; without any, all that there are."""
    found = [path for folder in folders for path in (SOURCE / folder).glob("*_test.py")]
    found = found or SOURCE.rglob("*_test.py")
    return sorted(str(path.relative_to(SOURCE)) for path in found)


def records(modules, *, ours, only=None, log=subprocess.DEVNULL):
    """The records of one run of these modules, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        output = os.path.join(folder, "records")
        command = [sys.executable, "-m", "tests.keras_own.child", "--output", output]
        command += ["--ours"] if ours else []
        command += ["--only", only] if only else []
        environment = {**os.environ, "PYTHONPATH": str(PROJECT), "TF_CPP_MIN_LOG_LEVEL": "3"}
        subprocess.run(
            [*command, *modules], env=environment, stdout=log, stderr=log, check=True, cwd=PROJECT
        )
        return pickle.loads(Path(output).read_bytes())


def compared(modules, *, only=None, log=subprocess.DEVNULL, parallel=True):
    """Every test of these modules, on both sides."""
    with ThreadPoolExecutor(2 if parallel else 1) as pool:
        runs = [
            pool.submit(records, modules, ours=ours, only=only, log=log) for ours in (False, True)
        ]
        stock, own = (run.result() for run in runs)
    return [_compare(name, stock.get(name), own.get(name)) for name in sorted({*stock, *own})]


def _compare(name, stock, own):
    built = bool(own and own.get("built"))
    outcomes = [each["outcome"] if each else "not there" for each in (stock, own)]
    if outcomes[0] != outcomes[1]:
        texts = [each["why"] for each in (own, stock) if each and each["why"]]
        why = " ".join("".join(texts[:1]).split())
        difference = f"{outcomes[0]} in Keras, {outcomes[1]} here: {why}"
        return Compared(name, built, difference, outcomes[0])
    if outcomes[0] != "passed":
        return Compared(name, built, "", outcomes[0])
    return Compared(name, built, _of_numbers(stock["numbers"], own["numbers"]), outcomes[0])


def _of_numbers(stock, own):
    """The first difference between two lists of numbers; empty where they are the same."""
    if [name for name, _ in stock] != [name for name, _ in own]:
        return f"looks at {len(stock)} things in Keras, at {len(own)} here"
    for (name, expected), (_, received) in zip(stock, own, strict=True):
        if not _holds(expected, received, logs=not name.startswith(("assert", "weights"))):
            return f"{name}: {expected} in Keras, {received} here"
    return ""


def _holds(expected, received, *, logs):
    """Whether all that Keras gives is there; logs may hold more, each term by its name."""
    if isinstance(expected, dict) and isinstance(received, dict):
        if not logs and set(expected) != set(received):
            return False
        return all(
            key in received and _holds(value, received[key], logs=logs)
            for key, value in expected.items()
        )
    if isinstance(expected, list) and isinstance(received, list):
        if len(expected) == len(received):
            pairs = zip(expected, received, strict=True)
            return all(_holds(*pair, logs=logs) for pair in pairs)
        rest = iter(received)  # in their order
        return logs and all(any(_holds(e, r, logs=logs) for r in rest) for e in expected)
    if expected is None or received is None:
        return expected is None and received is None
    if isinstance(expected, (dict, list)) or isinstance(received, (dict, list)):
        return False
    same = expected.shape == received.shape
    return same and np.allclose(expected, received, rtol=1e-5, atol=1e-6, equal_nan=True)
