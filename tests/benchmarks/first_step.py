"""What the first step of a model costs with each loss, and what a model leaves behind.

    python -m tests.benchmarks.first_step             # some minutes
    python -m tests.benchmarks.first_step Pairwise    # what has this in its name

Every loss gets a process of its own. `first` is the CPU time in seconds of the first `fit`, of
one batch of 32 rows, in that process, from `compile` on; `second` that of another model with
another loss object; `x mse` is each over that of Keras's mean squared error. `nodes` are those
of the graph of the training step, functions included; what is traced once a process and shared
by models counts for each. `kept` is the growth of resident memory a model, in MiB, and
`graphs` that of the number of traced graphs that are alive, once the model is deleted, the
session cleared, garbage collected and free memory given back to the system (of glibc). The
losses of the library are timed with their defaults.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import subprocess
import sys
import time
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from .timing import machine, print_table

ROWS = 32
KEPT_OF = 8  # models
REFERENCE = "mse"


def names() -> list[str]:
    """Every loss class, and the reference before them."""
    from keras_trainsteps import losses

    abstract = {losses.SideInputLoss, losses.RankingLoss, losses.LabelLoss, losses.OutputsLoss}
    found = [
        name
        for name, value in sorted(vars(losses).items())
        if isinstance(value, type)
        and issubclass(value, losses.SideInputLoss)
        and value not in abstract
    ]
    return [REFERENCE, *found]


def loss_and_batch(name):
    """A new loss object, the `x`, `y` of one batch, and a function that makes its model."""
    import keras

    from keras_trainsteps import LossAwareModel, losses

    rng = np.random.default_rng(0)
    x = {"features": rng.normal(size=(ROWS, 4)).astype("float32")}
    y = rng.integers(0, 2, (ROWS, 1)).astype("float32")
    cls = losses.RankingLoss if name == REFERENCE else getattr(losses, name)
    options, shape, outputs, width = {}, (4,), 1, 3
    if issubclass(cls, losses.RankingLoss):
        width = 1
        if name != REFERENCE:
            x["query_id"] = np.repeat(np.arange(ROWS // 8), 8)
    elif issubclass(cls, losses.OutputsLoss):
        outputs, y = len(cls.takes), None
    elif issubclass(cls, losses.LabelLoss):
        y = y.astype("int64")
        options = {"beta": 1.2} if name == "MarginLoss" else {}
    else:
        shape, y = (5, 4), rng.integers(0, 3, (ROWS, 5))
        x["features"] = rng.normal(size=(ROWS, *shape)).astype("float32")

    def model():
        features = keras.Input(shape, name="features")
        made = [keras.layers.Dense(width)(features) for _ in range(outputs)]
        return LossAwareModel(features, made[0] if outputs == 1 else made)

    return REFERENCE if name == REFERENCE else cls(**options), x, y, model


def one(name: str) -> dict[str, float]:
    """The figures of one loss, in this process."""
    import keras
    import tensorflow as tf

    def seconds() -> tuple[float, Any]:
        start = time.process_time()
        loss, x, y, model = loss_and_batch(name)
        made = model()
        made.compile("sgd", loss=loss)
        made.fit(x, y, batch_size=ROWS, shuffle=False, verbose=0)
        return time.process_time() - start, (made, (x, y))

    def memory() -> tuple[float, int]:
        keras.backend.clear_session()
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        graphs = sum(isinstance(found, tf.Graph) for found in gc.get_objects())
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20, graphs

    first = seconds()[0]
    second = seconds()[0]
    for _ in range(2):
        seconds()
    before = memory()
    for _ in range(KEPT_OF):
        seconds()
    after = memory()
    nodes = nodes_of(*seconds()[1])
    kept, graphs = ((late - early) / KEPT_OF for early, late in zip(before, after, strict=True))
    return {"first": first, "second": second, "nodes": nodes, "kept": kept, "graphs": graphs}


def nodes_of(model, data) -> int:
    """The number of nodes of the graph of a training step and of its functions."""
    import tensorflow as tf

    step = tf.function(model.train_step, autograph=False)
    data = tf.nest.map_structure(tf.constant, tuple(part for part in data if part is not None))
    graph = step.get_concrete_function(data).graph.as_graph_def()
    return len(graph.node) + sum(len(function.node_def) for function in graph.library.function)


def measured(name: str) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.first_step", "--one", name],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{name} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(one(sys.argv[2])))
        return
    wanted = [
        name
        for name in names()
        if name == REFERENCE or any(part in name for part in sys.argv[1:] or [""])
    ]
    print(machine(), "\n")

    def rows():
        reference: dict[str, float] = {}
        for name in wanted:
            row = measured(name)
            reference = reference or row
            times = [
                cell
                for which in ("first", "second")
                for cell in (f"{row[which]:.2f}", f"{row[which] / reference[which]:.1f}")
            ]
            yield [name, *times, *(f"{row[key]:.1f}" for key in ("nodes", "kept", "graphs"))]

    print_table(["", "first", "x mse", "second", "x mse", "nodes", "kept", "graphs"], rows())


if __name__ == "__main__":
    main()
