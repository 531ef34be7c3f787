"""Minutes to equal NDCG@10: this library, Keras-RS, PyTorch, LightGBM, XGBoost.

    python -m tests.benchmarks.train
    python -m tests.benchmarks.train --seconds 60 --queries 10000
    python -m tests.benchmarks.train --jit-compile --policy mixed_float16 --device cuda
    PEERS_PYTHON=/path/to/python ...            # where PyTorch is installed

The same network (46 features, 64, 32, 1), optimizer and data for all but the trees, which have
the defaults of their libraries. The clock runs from the arrays on: padding, tracing and
compilation are within it, scoring the rows held out is not. NDCG@10 is the best that every
contender has reached on these.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from keras_trainsteps import LossAwareModel, losses
from keras_trainsteps.data import query_batches

from .timing import machine, print_table
from .train_data import BATCH, FEATURES, HIDDEN, RATE, Rows, curve, letor, padded


def network() -> Callable[[Any], Any]:
    """Scores the last axis of features, of any rank."""
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(width, "relu") for width in HIDDEN]
    layers.append(keras.layers.Dense(1, dtype="float32"))
    return lambda values: functools.reduce(lambda x, layer: layer(x), layers, values)


def epochs(model: keras.Model, scorer: Callable[[Any], Any], held_out: Rows, *data, **options):
    """A round is an epoch."""
    while True:
        model.fit(*data, **options, verbose=0)
        yield lambda: np.asarray(scorer(held_out.features))


def here(loss):
    """`query_batches` and a loss of the library."""

    def rounds(rows: Rows, held_out: Rows, jit_compile: bool | str):
        scorer = network()
        features = keras.Input((FEATURES,), name="features")
        model = LossAwareModel(features, scorer(features))
        model.compile(keras.optimizers.Adam(RATE), loss=loss(), jit_compile=jit_compile)
        x = {"features": rows.features, "query_id": rows.query}
        data = query_batches(x, rows.labels, query_ids="query_id", batch_size=BATCH, seed=0)
        return epochs(model, scorer, held_out, data, shuffle=False)

    return rounds


def keras_rs(rows: Rows, held_out: Rows, jit_compile: bool | str):
    """Padded lists and its pairwise logistic loss."""
    import keras_rs

    scorer = network()
    features = keras.Input((None, FEATURES))
    model = keras.Model(features, keras.ops.squeeze(scorer(features), -1))
    model.compile(
        keras.optimizers.Adam(RATE),
        loss=keras_rs.losses.PairwiseLogisticLoss(),
        jit_compile=jit_compile,
    )
    x = padded(rows.features, rows.query, 0.0)
    y = padded(rows.labels, rows.query, -1.0)
    queries = max(1, BATCH * len(x) // len(rows.labels))
    return epochs(model, scorer, held_out, x, y, batch_size=queries)


KERAS = {
    "here, pairwise logistic": here(lambda: losses.PairwiseLogistic("query_id")),
    "here, softmax": here(lambda: losses.Softmax("query_id")),
    "Keras-RS, pairwise logistic": keras_rs,
}
OTHERS = {"PyTorch, pairwise logistic": "torch", "LightGBM": "lightgbm", "XGBoost": "xgboost"}


def of_others(module: str, options: argparse.Namespace) -> list[tuple[float, float]] | None:
    """The curve of a peer in a process of its own, or nothing if it is not installed."""
    own = os.environ.get("PEERS_PYTHON", sys.executable)
    python = own if module == "torch" else sys.executable
    there = f"import importlib.util as u; raise SystemExit(u.find_spec({module!r}) is None)"
    if subprocess.run([python, "-c", there]).returncode:
        return None
    arguments = [module, str(options.queries), str(options.seconds), options.device]
    done = subprocess.run(
        [python, "-m", "tests.benchmarks.train_peers", *arguments],
        stdout=subprocess.PIPE,
        text=True,
    )
    return None if done.returncode else json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20, help="of each contender, at most")
    parser.add_argument("--queries", type=int, default=2000)
    parser.add_argument("--jit-compile", action="store_true")
    parser.add_argument("--policy", default="float32")
    parser.add_argument("--device", default="cpu", help="that of peers: cpu or cuda")
    parser.add_argument("--no-peers", action="store_true", help="of other frameworks")
    options = parser.parse_args()
    keras.config.set_dtype_policy(options.policy)
    rows, held_out = letor(options.queries, 0), letor(options.queries // 4, 1)
    print(machine())
    found = {}
    for name, rounds in KERAS.items():
        if name.startswith("Keras-RS") and not importlib.util.find_spec("keras_rs"):
            continue
        begun = rounds_of(rounds, rows, held_out, options.jit_compile)
        found[name] = curve(begun, held_out, options.seconds)
    for name, module in OTHERS.items():
        if not options.no_peers:
            found[name] = of_others(module, options)
    missing = [name for name, points in found.items() if not points]
    found = {name: points for name, points in found.items() if points}
    target = min(max(score for _, score in points) for points in found.values())
    print(
        f"\n{len(rows.labels):,} rows in {options.queries:,} queries of 5 to 250, {FEATURES} "
        f"features; {options.policy}, jit_compile={options.jit_compile}; minutes to an "
        f"NDCG@10 of {target:.4f}, and to the best within {options.seconds:.0f} s\n"
    )

    def table():
        for name, points in found.items():
            reached = next(seconds for seconds, score in points if score >= target)
            best = max(points, key=lambda point: point[1])
            cells = (f"{reached / 60:.3f}", f"{best[1]:.4f}", f"{best[0] / 60:.3f}")
            yield [name, *cells, len(points)]

    print_table(["", "minutes", "best", "minutes", "epochs, or fives of trees"], table())
    if missing:
        print(f"not installed, or failed: {', '.join(missing)}")


def rounds_of(rounds, *arguments):
    """Begins with the first round, so that all before it is timed."""
    yield from rounds(*arguments)


if __name__ == "__main__":
    main()
