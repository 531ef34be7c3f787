"""Time and memory of the pair sums, together with a closure's and other libraries'.

    python -m tests.benchmarks.pairs            # some minutes; the peers that are installed
    python -m tests.benchmarks.pairs --quick    # the peers on at most 8,192 rows
    PEERS_PYTHON=/path/to/python ...            # where jax, rax and torch are installed

Every figure is loss and gradient of the logistic loss in milliseconds: medians of
interleaved runs, so that noise of the machine falls on all alike. `seed` is the formula
of seed 000, over all ordered pairs of rows. The last table is a `fit` with each loss
(`pairs_training.py`).
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from keras_trainsteps.pairs import LOGISTIC, pair_sums

BLOCK = 0.05


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
    @tf.function(jit_compile=jit_compile, reduce_retracing=True)
    def run(y_pred, *others):
        with tf.GradientTape() as tape:
            tape.watch(y_pred)
            value = loss(y_pred, *others)
        return value, tape.gradient(value, y_pred)

    return run


def library(pairs, method="auto", jit_compile=False):
    def loss(y_pred, y_true, query, num_queries):
        if jit_compile:
            num_queries = tf.shape(y_pred)[0]
        totals, counts = pair_sums(
            LOGISTIC, y_true, y_pred, query, num_queries, pairs=pairs, method=method
        )
        return tf.reduce_sum(totals) / tf.reduce_sum(counts)

    return with_gradient(loss, jit_compile)


LIBRARY = {
    "this, preference": library("preference"),
    "this, all": library("all"),
    "this, exact": library("preference", "exact"),
    "this, XLA": library("preference", jit_compile=True),
}
SEED = {"seed": with_gradient(lambda s, y, q: seed_loss(y, s, q))}
SEED["seed, XLA"] = with_gradient(lambda s, y, q: seed_loss(y, s, q), True)


def contenders(name: str, quadratic: bool) -> dict:
    """Name -> function without arguments, for one batch.

    Args:
        name: The batch.
        quadratic: Whether also those whose time or memory is that of n**2.
    """
    y_true, y_pred, query, number = batch(name)
    flat = [tf.constant(x) for x in (y_pred, y_true, query.astype(np.int32))]
    found = {}
    for label, run in LIBRARY.items():
        if label in ("this, XLA", "this, exact") and not quadratic:
            continue
        found[label] = lambda run=run: run(*flat, tf.constant(number))
    if quadratic:
        for label, run in SEED.items():
            found[label] = lambda run=run: run(*flat)
        if importlib.util.find_spec("keras_rs"):
            import keras_rs

            peer = keras_rs.losses.PairwiseLogisticLoss(reduction="sum")
            lists = [padded(y_pred, query, 0.0), padded(y_true, query, -1.0)]
            lists = [tf.constant(x) for x in lists]
            run = with_gradient(lambda s, y: peer(y, s))
            found["Keras-RS, padded"] = lambda: run(*lists)
    return found


def medians(functions: dict, seconds: float = 3.0) -> dict[str, float]:
    """Milliseconds. In each round every function runs for `BLOCK` seconds, at least once.

    Rounds, so that noise of the machine falls on all alike; blocks, so that a short run
    is not measured by the caches that a long one has left behind.
    """
    for run in functions.values():
        run()
    times: dict[str, list[float]] = {name: [] for name in functions}
    rounds, until = 0, time.perf_counter() + seconds
    while time.perf_counter() < until or rounds < 5:
        rounds += 1
        for name, run in functions.items():
            end_of_block = time.perf_counter() + BLOCK
            while True:
                start = time.perf_counter()
                result = run()
                result[0].numpy()
                end = time.perf_counter()
                times[name].append(1e3 * (end - start))
                if end > end_of_block:
                    break
    return {name: float(np.median(values)) for name, values in times.items()}


def other_peers(name: str) -> dict[str, float]:
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
        label, value = line.split("\t")
        if label == "skipped":
            print(f"skipped, not installed in {python}: {value}")
        else:
            figures[label] = float(value)
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
    arrays = [tf.constant(x) for x in (s, y, q.astype(np.int32))]
    del y, s, q
    with open("/proc/self/clear_refs", "w") as peak:
        peak.write("5")  # the peak so far, of importing and tracing, is forgotten
    before = resident("VmRSS")
    LIBRARY["this, preference"](*arrays, tf.constant(n))
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


def report(title: str, figures: dict[str, float]) -> None:
    print(f"\n{title}")
    own = figures["this, preference"]
    for name, value in figures.items():
        print(f"  {name:<20} {value:>10.2f} ms   {value / own:>8.1f} x", flush=True)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--quick", action="store_true")
    quick = arguments.parse_args().quick
    print(f"TensorFlow {tf.__version__}, Keras {keras.__version__}, {os.cpu_count()} cores")
    if not importlib.util.find_spec("keras_rs"):
        print("skipped, not installed: Keras-RS (pip install keras-rs)")
    shorter = () if quick else ("1 x 16384",)
    for name in ("64 x 16", "1 x 1024", "1 x 4096", "log-normal", *shorter):
        report(name, medians(contenders(name, quadratic=True)) | other_peers(name))

    print(
        "\nleft out from here on, since they take time or memory of n**2: the closure, Keras-RS,"
    )
    print("RAX and PyTorch, and this library when it visits every pair (exact, XLA)")
    long = {}
    for rows in (16384, 32768, 65536, 131072, 262144, 524288, 1048576):
        functions = contenders(f"1 x {rows}", quadratic=False)
        numbers = tf.constant(batch(f"1 x {rows}")[1])
        functions["one tf.nn.softplus"] = lambda x=numbers: [tf.nn.softplus(x)]
        long[rows] = medians(functions)
        report(f"1 x {rows}", long[rows])
    print("\ntime(2n) / time(n), preference pairs")
    for rows, figures in long.items():
        if 2 * rows in long:
            ratio = long[2 * rows]["this, preference"] / figures["this, preference"]
            print(f"  n = {rows:<8} {ratio:.2f}")
    print("\npeak memory above a warm small batch, bytes a row")
    for name in ("log-normal", "1 x 65536", "1 x 1048576"):
        several = sorted(peak_memory(name) for _ in range(3))
        print(f"  {name:<14} {several[1]:.0f} ({several[0]:.0f} to {several[2]:.0f})", flush=True)

    from .pairs_training import main as training

    print()
    training()


if __name__ == "__main__":
    main()
