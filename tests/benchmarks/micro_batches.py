"""Memory and time of micro-batches against the undivided step.

    python -m tests.benchmarks.micro_batches           # four minutes
    python -m tests.benchmarks.micro_batches --quick   # one

A network of 20 layers of 512 units under a loss by query. Memory is the growth of the peak
resident memory, in MiB, over a process that has trained on one micro-batch: a fresh process
each. Time is of a step at the same batch, medians, interleaved in one process. Last, NT-Xent of
16,384 rows, each compared with all others.
"""

from __future__ import annotations

import argparse
import functools
import os
import pathlib
import subprocess
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from .timing import interleaved, machine, print_table

LAYERS, UNITS, FEATURES, SIZE = 20, 512, 64, 256
BATCHES = [1024, 4096, 16384]


def ranker(size):
    import keras

    from keras_trainsteps import LossAwareModel
    from keras_trainsteps.losses import Softmax

    inputs = keras.Input((FEATURES,), name="features")
    hidden = inputs
    for _ in range(LAYERS):
        hidden = keras.layers.Dense(UNITS, "gelu")(hidden)
    model = LossAwareModel(inputs, keras.layers.Reshape(())(keras.layers.Dense(1)(hidden)))
    model.compile("sgd", Softmax("query_id"), micro_batch_size=size)
    return model


def embedder(size):
    import keras

    from keras_trainsteps import LossAwareModel
    from keras_trainsteps.losses import NTXent

    inputs = keras.Input((FEATURES,), name="features")
    hidden = inputs
    for _ in range(LAYERS):
        hidden = keras.layers.Dense(UNITS, "gelu")(hidden)
    both = {"first": hidden, "second": keras.layers.Dropout(0.1)(hidden)}
    outputs = {name: keras.layers.Dense(64, name=name)(value) for name, value in both.items()}
    model = LossAwareModel(inputs, outputs)
    model.compile("sgd", NTXent(outputs=["first", "second"]), micro_batch_size=size)
    return model


MODELS = {"ranker": ranker, "embedder": embedder}


def batch_of(name, rows):
    rng = np.random.default_rng(0)
    x = {"features": rng.normal(size=(rows, FEATURES)).astype("float32")}
    if name == "embedder":
        return (x,)
    x["query_id"] = np.arange(rows) // 16
    return x, rng.integers(0, 3, rows).astype("float32")


def peak():
    """The peak of resident memory so far, in MiB; kept by the system for each process."""
    status = pathlib.Path("/proc/self/status").read_text().splitlines()
    line = next(line for line in status if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def measure(name, rows, size):
    """In a process of its own: what a step on `rows` adds to the peak."""
    model = MODELS[name](size or None)
    model.train_on_batch(*batch_of(name, SIZE))
    before = peak()
    model.train_on_batch(*batch_of(name, rows))
    print(round(peak() - before))


def measured(name, rows, size):
    command = [sys.executable, "-m", __spec__.name, "--one", name, str(rows), str(size or 0)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return int(done.stdout.split()[-1]) if done.returncode == 0 else None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the smaller batches alone")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        name, rows, size = options.one
        measure(name, int(rows), int(size))
        return
    print(machine())
    batches = BATCHES[:2] if options.quick else BATCHES
    print(f"\nMiB of a step, {LAYERS} layers of {UNITS}; micro-batches of {SIZE} rows")
    rows = []
    for batch in batches:
        found = [measured("ranker", batch, size) for size in (None, SIZE)]
        rows.append([f"{batch:,} rows", *(f"{value:,}" for value in found)])
    print_table(["", "undivided", "micro-batches"], rows)
    print("\nms of a step (fastest to slowest)")
    rows = []
    for batch in batches[:2]:
        data, models = batch_of("ranker", batch), {n: ranker(n) for n in (None, SIZE)}
        runs = {n: functools.partial(m.train_on_batch, *data) for n, m in models.items()}
        times = interleaved(runs, 20.0 if not options.quick else 8.0)
        ratio = times[SIZE].median / times[None].median
        rows.append([f"{batch:,} rows", str(times[None]), str(times[SIZE]), f"{ratio:.2f}"])
    print_table(["", "undivided", "micro-batches", "ratio"], rows)
    if not options.quick:
        found = measured("embedder", 16384, SIZE)
        print(f"\nNT-Xent of 16,384 rows, in micro-batches: {found:,} MiB")


if __name__ == "__main__":
    main()
