"""The pairwise losses in graph mode and under XLA, beside Keras-RS: time, and compilation.

    python -m tests.benchmarks.pairs_xla            # some minutes
    python -m tests.benchmarks.pairs_xla --short    # small batches alone

What is timed is what a user calls, ids and checks included: loss and gradient, in
milliseconds, minimum and median of interleaved runs. `first` is the first call in seconds, in
which the function is traced and compiled. The other losses of the last table are those of one
query of 4,096 rows.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import time
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

from keras_trainsteps import losses
from tests.benchmarks.pairs import BLOCK, batch, padded, with_gradient

Run = Callable[[], tuple[tf.Tensor, ...]]


def contenders(
    name: str, loss=losses.pairwise_logistic, peers: bool = True, quadratic: bool = True
) -> dict[str, Run]:
    """Name -> function without arguments, for one batch.

    Args:
        name: The batch.
        loss: The loss of the library.
        peers: Whether Keras-RS and an empty function are timed, too, and padded lists.
        quadratic: Whether memory of all pairs can be had.
    """
    y_true, y_pred, query, _ = batch(name)
    flat = [tf.constant(x) for x in (y_pred, y_true, query.astype(np.int64))]
    lists = [tf.constant(padded(x, query, fill)) for x, fill in ((y_pred, 0.0), (y_true, -1.0))]
    found: dict[str, Run] = {}

    def add(label, function, arguments, jit_compile):
        run = with_gradient(function, jit_compile)
        found[f"{label}{', XLA' if jit_compile else ''}"] = lambda: run(*arguments)

    for jit_compile in (False, True):
        add("ids", lambda s, y, q: loss(y, s, query_ids=q).value, flat, jit_compile)
        if not peers:
            continue
        if quadratic:
            add("lists", lambda s, y: loss(y, s, mask=y >= 0).value, lists, jit_compile)
        add("empty", lambda s, y, q: tf.reduce_sum(s), flat, jit_compile)
        if importlib.util.find_spec("keras_rs"):
            import keras_rs

            peer = keras_rs.losses.PairwiseLogisticLoss(reduction="sum")
            add("Keras-RS", lambda s, y, peer=peer: peer(y, s), lists, jit_compile)
    return found


def timed(functions: dict[str, Run], seconds: float = 3.0) -> dict[str, tuple[float, ...]]:
    """Seconds of the first call, and minimum and median of the others in milliseconds."""
    first = {}
    for name, run in functions.items():
        start = time.perf_counter()
        run()[0].numpy()
        first[name] = time.perf_counter() - start
    times: dict[str, list[float]] = {name: [] for name in functions}
    rounds, until = 0, time.perf_counter() + seconds
    while time.perf_counter() < until or rounds < 5:
        rounds += 1
        for name, run in functions.items():
            end_of_block = time.perf_counter() + BLOCK
            while True:
                start = time.perf_counter()
                run()[0].numpy()
                end = time.perf_counter()
                times[name].append(1e3 * (end - start))
                if end > end_of_block:
                    break
    return {name: (first[name], min(t), float(np.median(t))) for name, t in times.items()}


def report(title: str, figures: dict[str, tuple[float, ...]]) -> None:
    """Prints one table; ratios are those of minima, to Keras-RS or else to graph mode."""
    print(f"\n{title:<28}{'first s':>9}{'min':>9}{'median':>9}{'ratio':>8}")
    for name, (first, least, median) in figures.items():
        peer = "Keras-RS, XLA" if name.endswith("XLA") else "Keras-RS"
        other = figures.get(peer, figures.get("ids", figures[name]))
        print(
            f"  {name:<26}{first:>9.2f}{least:>9.3f}{median:>9.3f}{least / other[1]:>8.2f}",
            flush=True,
        )


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--short", action="store_true")
    short = arguments.parse_args().short
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"TensorFlow {tf.__version__}, {os.cpu_count()} cores, load {load}", file=sys.stdout)
    for name in ("64 x 16", "256 x 32", "64 x 10 + 64 x 16"):
        report(name, timed(contenders(name)))
    if short:
        return
    for name in ("1 x 4096", "log-normal"):
        report(f"{name}, ratio to graph", timed(contenders(name, peers=False)))
    growth: dict[int, dict[str, tuple[float, ...]]] = {}
    for rows in (8192, 16384, 32768, 65536):
        growth[rows] = timed(contenders(f"1 x {rows}", peers=False))
        report(f"1 x {rows}, ratio to graph", growth[rows])
    print("\ntime(2n) / time(n), minima: graph, XLA")
    for rows, figures in growth.items():
        if 2 * rows in growth:
            ratios = [growth[2 * rows][k][1] / figures[k][1] for k in ("ids", "ids, XLA")]
            print(f"  n = {rows:<8}" + "".join(f"{ratio:>7.2f}" for ratio in ratios))
    for name in ("hinge", "squared_hinge", "soft_zero_one", "mean_squared_error"):
        loss = getattr(losses, f"pairwise_{name}")
        report(f"1 x 4096, {name}", timed(contenders("1 x 4096", loss, peers=False)))


if __name__ == "__main__":
    main()
