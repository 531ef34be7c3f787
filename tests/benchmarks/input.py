"""Rows a second of `query_batches` and `resumable_batches`, and the memory they take.

    python -m tests.benchmarks.input

Beside Keras's own adapter of arrays, which `fit(x, y)` uses and which cuts queries, and NumPy's
indexing by the same numbers of rows. Memory is the growth of the peak of a fresh process over
its arrays, at construction and after a pass.
"""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from .timing import machine, print_table, times_of

ROWS, FEATURES, QUERY, BATCH = 500_000, 136, 100, 1024
MEMORY_ROWS = 1_000_000
ROUNDS = 12


def arrays(rows):
    rng = np.random.default_rng(0)
    x = {
        "features": rng.random((rows, FEATURES), dtype=np.float32),
        "query_id": np.sort(rng.integers(0, max(1, rows // QUERY), rows)),
    }
    return x, rng.integers(0, 5, rows).astype("float32")


def keras_adapter(x, y):
    from keras.src.trainers.data_adapters.array_data_adapter import ArrayDataAdapter

    return ArrayDataAdapter(x, y, batch_size=BATCH, shuffle=True).get_tf_dataset()


def by_query(x, y):
    from keras_trainsteps.data import query_batches

    return query_batches(x, y, query_ids="query_id", batch_size=BATCH, seed=1)


def resumable(x, y):
    from keras_trainsteps.rolling import resumable_batches

    batches = resumable_batches(x, y, query_ids="query_id", batch_size=BATCH, seed=1)
    return batches.from_step(0).take(batches.steps_per_epoch)


class Indexed:
    """Rows drawn by NumPy."""

    def __init__(self, x, y):
        self.arrays = (*x.values(), y)

    def __iter__(self):
        order = np.random.default_rng(0).permutation(len(self.arrays[0]))
        for begin in range(0, len(order), BATCH):
            yield [array[order[begin : begin + BATCH]] for array in self.arrays]


MAKERS = {
    "Keras's adapter": keras_adapter,
    "`query_batches`": by_query,
    "`resumable_batches`": resumable,
    "NumPy's indexing": Indexed,
}


def seconds(batches):
    begin = time.perf_counter()
    for _ in batches:
        pass
    return time.perf_counter() - begin


def resident(field):
    """A figure of this process in MiB."""
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise OSError(f"/proc/self/status has no {field}")


def growth(name):
    """MiB of the arrays, then of the peak above them when made, and after a pass."""
    seconds(MAKERS[name](*arrays(4 * BATCH)))  # what is imported and traced once
    x, y = arrays(MEMORY_ROWS)
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = resident("VmRSS")
    batches = MAKERS[name](x, y)
    made = resident("VmHWM") - before
    seconds(batches)
    size = sum(array.nbytes for array in (*x.values(), y)) / 2**20
    return size, made, resident("VmHWM") - before


def measured(name):
    command = [sys.executable, "-m", "tests.benchmarks.input", "--memory", name]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return [f"{float(value):,.0f}" for value in done.stdout.split()]


def main():
    if sys.argv[1:2] == ["--memory"]:
        print(*growth(sys.argv[2]))
        return
    print(machine())
    print(f"\nMillion rows of {FEATURES} features a second, in batches of {BATCH}\n")
    made = {name: make(*arrays(ROWS)) for name, make in MAKERS.items()}
    times = {name: [] for name in made}
    for _ in range(ROUNDS):
        for name, batches in made.items():
            times[name].append(seconds(batches))
    rates = {name: ROWS / 1e6 / np.array(found[1:]) for name, found in times.items()}
    keras_rate = rates["Keras's adapter"]
    print_table(
        ["", "million rows a second", "of Keras's"],
        ([name, times_of(rate), times_of(rate / keras_rate)] for name, rate in rates.items()),
    )
    print("Memory above the arrays, MiB\n")
    print_table(
        ["", "arrays", "when made", "after a pass"],
        ([name, *measured(name)] for name in MAKERS),
    )


if __name__ == "__main__":
    main()
