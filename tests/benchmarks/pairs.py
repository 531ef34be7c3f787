"""Time and memory of the pair sums, together with a closure's and other libraries'.

    python -m tests.benchmarks.pairs            # some minutes; the peers that are installed
    python -m tests.benchmarks.pairs --quick    # no peer on 16,384 rows
    python -m tests.benchmarks.pairs --small    # the smallest, to see that it runs
    PEERS_PYTHON=/path/to/python ...            # where jax, rax and torch are installed

Every figure is loss and gradient of the logistic loss as a user calls it, ids and checks
included, in milliseconds, of interleaved runs. `formula` is that of the closure over query
ids, over all ordered pairs of rows, whose memory is that of all rows by all rows. The last
table is a `fit` with each loss (`pairs_training.py`).
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

from keras_trainsteps import losses

from .timing import Times, interleaved, machine, print_table


def list_sizes(name: str) -> np.ndarray:
    """The sizes of the queries of a batch by its name."""
    if name == "log-normal":
        rng = np.random.default_rng(0)
        sizes = np.exp(rng.normal(np.log(100), 1, 1000)).astype(int).clip(1, 1000)
        total = np.cumsum(sizes)
        last = int(np.searchsorted(total, 8192))
        sizes[last] -= total[last] - 8192
        return sizes[: last + 1]
    alike = [tuple(map(int, part.split(" x "))) for part in name.split(" + ")]
    return np.concatenate([np.full(queries, rows) for queries, rows in alike])


def batch(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    sizes = list_sizes(name)
    rng = np.random.default_rng(1)
    rows = int(sizes.sum())
    y_true = rng.integers(0, 5, rows).astype(np.float32)
    y_pred = rng.normal(size=rows).astype(np.float32)
    return y_true, y_pred, np.repeat(np.arange(len(sizes)), sizes), len(sizes)


def padded(values: np.ndarray, query: np.ndarray, fill: float) -> np.ndarray:
    sizes = np.bincount(query)
    lists = np.full((len(sizes), sizes.max()), fill, values.dtype)
    lists[np.arange(sizes.max()) < sizes[:, None]] = values
    return lists


def seed_loss(y_true, y_pred, query):
    """`pairwise_binary_crossentropy(query)` as it is written for Keras 2."""
    y_true, y_pred, query = y_true[:, None], y_pred[:, None], query[:, None]
    pair_mask = tf.cast(tf.equal(query, tf.transpose(query)), tf.float32)
    diagonal = tf.linalg.band_part(tf.ones_like(pair_mask), -1, 0)
    diagonal = tf.linalg.band_part(diagonal, 0, 0)
    pair_mask = pair_mask * (1 - diagonal)
    si_minus_sj = y_pred - tf.transpose(y_pred)
    yi_minus_yj = y_true - tf.transpose(y_true)
    yi_minus_yj = tf.maximum(tf.minimum(1.0, yi_minus_yj), -1.0)
    yi_minus_yj = 0.5 * (1 + yi_minus_yj)
    logloss = tf.nn.sigmoid_cross_entropy_with_logits(labels=yi_minus_yj, logits=si_minus_sj)
    loss = tf.reduce_sum(pair_mask * logloss)
    return loss / (tf.reduce_sum(pair_mask) + 0.00001)


def with_gradient(loss, jit_compile=False):
    """Runs a loss and its gradient, and waits for the value."""

    @tf.function(jit_compile=jit_compile, reduce_retracing=True)
    def run(y_pred, *others):
        with tf.GradientTape() as tape:
            tape.watch(y_pred)
            value = loss(y_pred, *others)
        gradient = tape.gradient(value, y_pred)
        with tf.control_dependencies([gradient]):  # a GPU would still be at it
            return tf.identity(value), gradient

    return lambda *arguments: run(*arguments)[0].numpy()


def library(jit_compile=False, **options):
    """What a user calls, ids and checks included."""

    def loss(y_pred, y_true, query_ids):
        return losses.pairwise_logistic(y_true, y_pred, query_ids=query_ids, **options).value

    return with_gradient(loss, jit_compile)


LIBRARY = {
    "here": library(),
    "here, XLA": library(jit_compile=True),
    "here, all pairs": library(pairs="all"),
    "here, every pair visited": library(method="exact"),
}
FORMULA = {
    f"formula{name}": with_gradient(lambda s, y, q: seed_loss(y, s, q), jit_compile)
    for name, jit_compile in (("", False), (", XLA", True))
}


def contenders(name: str, quadratic: bool) -> dict:
    """Name -> function without arguments, for one batch.

    Args:
        name: The batch.
        quadratic: Whether also those whose time or memory is that of n**2.
    """
    y_true, y_pred, query, _ = batch(name)
    flat = [tf.constant(x) for x in (y_pred, y_true, query)]
    if not quadratic:
        return {"here": lambda: LIBRARY["here"](*flat)}
    found = {label: lambda run=run: run(*flat) for label, run in {**LIBRARY, **FORMULA}.items()}
    if importlib.util.find_spec("keras_rs"):
        import keras_rs

        peer = keras_rs.losses.PairwiseLogisticLoss(reduction="sum")
        lists = [padded(y_pred, query, 0.0), padded(y_true, query, -1.0)]
        lists = [tf.constant(x) for x in lists]
        for label, jit_compile in (("", False), (", XLA", True)):
            run = with_gradient(lambda s, y: peer(y, s), jit_compile)
            found[f"Keras-RS{label}"] = lambda run=run: run(*lists)
    return found


def other_peers(name: str) -> dict[str, Times]:
    """What `pairs_peers.py` measures, one after the other in a process of its own."""
    python = os.environ.get("PEERS_PYTHON", sys.executable)
    y_true, y_pred, query, _ = batch(name)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "batch.npz")
        np.savez(
            path,
            y_true=y_true,
            y_pred=y_pred,
            query=query,
            y_true_lists=padded(y_true, query, 0.0),
            y_pred_lists=padded(y_pred, query, 0.0),
            where=padded(np.ones(len(query), bool), query, False),
        )
        script = os.path.join(os.path.dirname(__file__), "pairs_peers.py")
        done = subprocess.run(
            [python, script, path], stdout=subprocess.PIPE, text=True, check=True
        )
    figures = {}
    for line in done.stdout.splitlines():
        label, *values = line.split("\t")
        if label == "skipped":
            print(f"not installed in {python}: {values[0]}", file=sys.stderr)
        else:
            figures[label] = Times(*map(float, values))
    return figures


def peak_memory(name: str) -> float:
    """Bytes a row of the peak above a warm small batch, in a process of its own (Linux)."""
    code = f"""
from tests.benchmarks.pairs import LIBRARY, batch
import re, tensorflow as tf, numpy as np

def resident(kind):
    with open("/proc/self/status") as status:
        return 1024 * int(re.search(kind + r":\\s+(\\d+)", status.read())[1])

def run(name):
    y, s, q, n = batch(name)
    arrays = [tf.constant(x) for x in (s, y, q)]
    del y, s, q
    with open("/proc/self/clear_refs", "w") as peak:
        peak.write("5")  # the peak so far, of importing and tracing, is forgotten
    before = resident("VmRSS")
    LIBRARY["here"](*arrays)
    return resident("VmHWM") - before

# From here on nothing is traced, and what code both methods need is in memory.
run("1 x 1024")
run("3 x 500 + 30 x 20")
run("500 x 5")
print(run({name!r}) / {int(list_sizes(name).sum())})
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return float(done.stdout.split()[-1])


COLUMNS = [
    *("here", "here, XLA", "formula", "formula, XLA", "Keras-RS", "Keras-RS, XLA"),
    *("RAX, padded", "PyTorch, eager", "PyTorch, compiled"),
]
LONG = [2**power for power in range(13, 21)]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--quick", action="store_true")
    arguments.add_argument("--small", action="store_true")
    options = arguments.parse_args()
    small, quick = options.small, options.quick or options.small
    names = ("64 x 16", "256 x 32", "1 x 1024", "1 x 4096", "log-normal", "1 x 16384")
    names = names[:1] if small else names[:-1] if quick else names
    tf.get_logger().setLevel("ERROR")  # every batch is traced anew: that is known
    print(machine())
    print(
        "\nPairwise logistic loss and gradient, milliseconds: median (fastest to slowest of nine "
        "in ten)\n"
    )
    every = {}

    def rows():
        for name in names:
            found = interleaved(contenders(name, quadratic=True), 2.0)
            every[name] = found | other_peers(name)
            yield [name, *(every[name].get(column) for column in COLUMNS)]

    print_table(["queries x rows", *COLUMNS], rows())
    others = ["here", "here, all pairs", "here, every pair visited", "RAX, segments"]
    print_table(
        ["queries x rows", *others],
        ([name, *(found.get(other) for other in others)] for name, found in every.items()),
    )

    print("One query, ms, and time(2n) / time(n)\n")
    long: dict[int, Any] = {}

    def longer():
        for length in LONG[: 2 if small else None]:
            name = f"1 x {length}"
            found = interleaved(contenders(name, quadratic=False), 1.0)["here"]
            long[length] = found
            before = long.get(length // 2)
            yield [f"{length:,}", found, before and f"{found.median / before.median:.2f}"]

    print_table(["rows", "here", "of half the rows"], longer())

    if small:
        return

    def peaks():
        for name in ("log-normal", "1 x 65536", "1 x 1048576"):
            several = sorted(peak_memory(name) for _ in range(1 if quick else 3))
            yield [name, f"{several[len(several) // 2]:.0f}"]

    print("Peak memory above that of a warm small batch, bytes a row\n")
    print_table(["queries x rows", "here"], peaks())

    from .pairs_training import main as training

    training()


if __name__ == "__main__":
    main()
