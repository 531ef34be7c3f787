"""The pairwise losses in graph mode and under XLA, beside Keras-RS: time, and compilation.

    python -m tests.benchmarks.pairs_xla            # some minutes
    python -m tests.benchmarks.pairs_xla --short    # small batches alone

What is timed is what a user calls, ids and checks included: loss and gradient, in
milliseconds, median and fastest of interleaved runs. `first` is the first call in seconds, in
which the function is traced and compiled. The other losses of the last table are those of one
query of 4,096 rows.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import time
from collections.abc import Callable
from typing import Any, NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

from keras_trainsteps import losses
from tests.benchmarks.pairs import batch, padded, with_gradient
from tests.benchmarks.timing import Times, interleaved, machine, print_table, shown

Run = Callable[[], Any]


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


class Figures(NamedTuple):
    """Seconds of the first call, and milliseconds of the others."""

    first: float
    times: Times


def timed(functions: dict[str, Run], seconds: float = 3.0) -> dict[str, Figures]:
    """The figures of each; first calls one after the other, the others interleaved."""
    first = {}
    for name, run in functions.items():
        start = time.perf_counter()
        run()
        first[name] = time.perf_counter() - start
    times = interleaved(functions, seconds)
    return {name: Figures(first[name], times[name]) for name in functions}


def report(title: str, figures: dict[str, Figures]) -> None:
    """Prints one table; ratios are those of the fastest, to Keras-RS or else to graph mode."""

    def rows():
        for name, (first, times) in figures.items():
            peer = "Keras-RS, XLA" if name.endswith("XLA") else "Keras-RS"
            other = figures.get(peer, figures.get("ids", figures[name])).times
            ratios = (times.median / other.median, times.fastest / other.fastest)
            yield [name, shown(first), times, "{} ({})".format(*map(shown, ratios))]

    print_table([title, "first, s", "ms", "of Keras-RS, or of graph"], rows())


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--short", action="store_true")
    short = arguments.parse_args().short
    print(machine() + "\n")
    for name in ("64 x 16", "256 x 32", "64 x 10 + 64 x 16"):
        report(name, timed(contenders(name)))
    if short:
        return
    for name in ("1 x 4096", "log-normal"):
        report(f"{name}, ratio to graph", timed(contenders(name, peers=False)))
    growth: dict[int, dict[str, Figures]] = {}
    for rows in (8192, 16384, 32768, 65536):
        growth[rows] = timed(contenders(f"1 x {rows}", peers=False))
        report(f"1 x {rows}, ratio to graph", growth[rows])
    ratios = (
        [
            rows,
            *(
                shown(growth[2 * rows][kind].times.median / figures[kind].times.median)
                for kind in ("ids", "ids, XLA")
            ),
        ]
        for rows, figures in growth.items()
        if 2 * rows in growth
    )
    print_table(["time(2n) / time(n), n", "graph", "XLA"], ratios)
    for name in ("hinge", "squared_hinge", "soft_zero_one", "mean_squared_error"):
        loss = getattr(losses, f"pairwise_{name}")
        report(f"1 x 4096, {name}", timed(contenders("1 x 4096", loss, peers=False)))


if __name__ == "__main__":
    main()
