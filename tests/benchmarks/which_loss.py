"""Which loss to start with: NDCG of `Ranker` by loss, of trees, of Keras-RS, on three data sets.

    python -m tests.benchmarks.which_loss
    python -m tests.benchmarks.which_loss --seeds 2 --data travel
    python -m tests.benchmarks.which_loss --lightgbm /path/to/LightGBM/examples/lambdarank

The data: LightGBM's own example (its files `rank.train`, `rank.test` and their `.query`; left out
where they are not), rows like those of LETOR from a simulation, and the ways to travel of
statsmodels, which are split anew for each seed. All contenders have the defaults of their
libraries; Keras-RS, which has none, has the network, scaling, optimizer and epochs of `Ranker`.
The clock runs from the arrays to the trained model: tracing is within it. NDCG leaves out queries
without a relevant row.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from keras_trainsteps import LossAwareModel, losses
from keras_trainsteps.data import groups_of_ids, query_batches, split_by_query
from keras_trainsteps.losses.lambda_weights import NDCG as SwapsOfNDCG
from keras_trainsteps.metrics import NDCG
from keras_trainsteps.sklearn import Ranker
from keras_trainsteps.sklearn.network import as_batch_size, small_network
from keras_trainsteps.sklearn.scaling import Scaling

from .timing import machine, print_table
from .train_data import letor, padded

DEFAULTS = Ranker().get_params()
RATE, EPOCHS = DEFAULTS["learning_rate"], DEFAULTS["epochs"]


class Part(NamedTuple):
    """Rows, those of a query one after the other."""

    features: np.ndarray
    labels: np.ndarray
    query: np.ndarray


Scores = Callable[[np.ndarray], np.ndarray]


def svmlight(folder: Path, name: str) -> Part:
    """A file of LightGBM's example, whose features count from 0."""
    lines = [line.split() for line in (folder / name).read_text().splitlines()]
    features = np.zeros((len(lines), 301))
    for row, (_, *entries) in enumerate(lines):
        for entry in entries:
            column, value = entry.split(":")
            features[row, int(column)] = float(value)
    sizes = np.loadtxt(folder / f"{name}.query", dtype=int)
    labels = np.array([float(line[0]) for line in lines])
    return Part(features, labels, np.repeat(np.arange(len(sizes)), sizes))


def lightgbm_example(folder: Path, seed: int) -> tuple[Part, Part]:
    return svmlight(folder, "rank.train"), svmlight(folder, "rank.test")


def simulation(folder: Path, seed: int) -> tuple[Part, Part]:
    return Part(*letor(1000, 0)), Part(*letor(500, 1))


def travel_modes(folder: Path, seed: int) -> tuple[Part, Part]:
    """150 travellers to train on and 60 to test on, others for each seed."""
    from keras_trainsteps.examples.travel_modes import load_trips

    x, y = load_trips()
    parts = split_by_query(x["query_id"], test_size=60, seed=seed)
    train, test = (Part(x["features"][r], y[r], x["query_id"][r]) for r in parts)
    return train, test


DATA = {
    "lightgbm": ("LightGBM's example", 5, lightgbm_example),
    "letor": ("simulated LETOR", 10, simulation),
    "travel": ("travel modes", None, travel_modes),
}


def ranker(rows: Part, seed: int, **options: Any) -> Scores:
    """`Ranker` with its defaults but for `options`."""
    made = Ranker(random_state=seed, **options).fit(rows.features, rows.labels, qid=rows.query)
    return made.predict


def network(rows: Part, seed: int, *, scaled: bool) -> tuple[Any, Callable[[Any], Any]]:
    """The input of one row, and the default network of `Ranker` on it."""
    columns = rows.features.shape[1]
    inputs = keras.Input((columns,), name="features")
    share = min(0.5, columns / (columns + len(np.unique(rows.query))))
    features = Scaling.of(rows.features.astype("float64"))(inputs) if scaled else inputs
    return inputs, small_network(features, hidden=(32,), dropout=share, seed=seed)


def batch(rows: Part) -> int:
    return as_batch_size("auto", len(rows.labels))


def falling() -> list[keras.callbacks.Callback]:
    return [keras.callbacks.LearningRateScheduler(lambda e, _: RATE * (1 - e / EPOCHS))]


def unscaled(rows: Part, seed: int) -> Scores:
    """The default `Ranker`, but for the scaling."""
    model = LossAwareModel(*network(rows, seed, scaled=False))
    model.compile(keras.optimizers.Adam(RATE), loss=losses.UniqueSoftmax())
    x = {"features": rows.features.astype("float32"), "query_id": rows.query}
    batches = query_batches(
        x, rows.labels, query_ids="query_id", batch_size=batch(rows), seed=seed
    )
    model.fit(batches, epochs=EPOCHS, callbacks=falling(), verbose=0)
    return lambda features: model.predict(features, verbose=0)


def keras_rs(rows: Part, seed: int, *, loss: str) -> Scores:
    """A loss of Keras-RS on padded lists."""
    import keras_rs

    keras.utils.set_random_seed(seed)
    scorer = keras.Model(*network(rows, seed, scaled=True))
    for name in ("linear", "of_hidden"):  # its gradient is 0 where all scores are equal
        kernel = scorer.get_layer(name).kernel
        kernel.assign(keras.initializers.GlorotUniform(seed=seed)(kernel.shape))
    query = np.unique(rows.query, return_inverse=True)[1]
    x, y = padded(rows.features.astype("float32"), query, 0.0), padded(rows.labels, query, -1.0)
    lists = keras.Input(x.shape[1:])
    flat = scorer(keras.ops.reshape(lists, (-1, x.shape[2])))
    model = keras.Model(lists, keras.ops.reshape(flat, (-1, x.shape[1])))
    model.compile(keras.optimizers.Adam(RATE), loss=getattr(keras_rs.losses, loss)())
    queries = max(1, batch(rows) * len(x) // len(query))
    model.fit(x, y, batch_size=queries, epochs=EPOCHS, callbacks=falling(), verbose=0)
    return lambda features: scorer.predict(features, verbose=0)


def lightgbm(rows: Part, seed: int, **options: Any) -> Scores:
    from lightgbm import LGBMRanker

    made = LGBMRanker(random_state=seed, verbose=-1, **options)
    return made.fit(rows.features, rows.labels, group=groups_of_ids(rows.query)).predict


def xgboost(rows: Part, seed: int) -> Scores:
    from xgboost import XGBRanker

    return XGBRanker(random_state=seed).fit(rows.features, rows.labels, qid=rows.query).predict


NAMES = ("unique_softmax", "softmax", "pairwise_logistic", "lambdarank", "approx_ndcg")
CONTENDERS: dict[str, Callable[[Part, int], Scores]] = {
    **{f"`Ranker`, {name}": functools.partial(ranker, loss=name) for name in NAMES},
    "  approx_ndcg, temperature 1": functools.partial(
        ranker, loss=losses.ApproxNDCG(temperature=1.0)
    ),
    "  unique_softmax, linear score": functools.partial(ranker, hidden=()),
    "  unique_softmax, inputs not scaled": unscaled,
    "  unique_softmax, 5 epochs": functools.partial(ranker, epochs=5),
}
PEERS: dict[str, tuple[str, Callable[[Part, int], Scores]]] = {
    "LightGBM, 100 trees": ("lightgbm", lightgbm),
    "XGBoost, 100 trees": ("xgboost", xgboost),
    "Keras-RS, pairwise logistic": (
        "keras_rs",
        functools.partial(keras_rs, loss="PairwiseLogisticLoss"),
    ),
    "Keras-RS, ListMLE": ("keras_rs", functools.partial(keras_rs, loss="ListMLELoss")),
}


def quality(rows: Part, scores: np.ndarray, k: int | None) -> float:
    metric = NDCG(k=k, no_relevant="skip")
    metric.update_state(rows.labels, np.ravel(scores), query_ids=rows.query)
    return float(metric.result())


def table_of(name: str, seeds: int, folder: Path) -> None:
    """NDCG of each contender over the seeds, interleaved, and seconds of its trainings."""
    title, k, read = DATA[name]
    found: dict[str, list[tuple[float, float]]] = {}
    contenders = dict(CONTENDERS)
    contenders |= {
        peer: made for peer, (module, made) in PEERS.items() if importlib.util.find_spec(module)
    }
    for seed in range(seeds):
        train, test = read(folder, seed)
        for contender, trained in contenders.items():
            begin = time.perf_counter()
            scores = trained(train, seed)
            seconds = time.perf_counter() - begin
            value = quality(test, scores(test.features), k)
            found.setdefault(contender, []).append((value, seconds))
            keras.backend.clear_session()
    print(
        f"{title}: {len(train.labels):,} rows in {len(np.unique(train.query)):,} queries, "
        f"{train.features.shape[1]} features; tested on {len(np.unique(test.query)):,} queries\n"
    )

    def lines():
        for contender, runs in found.items():
            values, times = np.transpose(runs)
            spread = f"{values.min():.3f} to {values.max():.3f}"
            shown = f"{np.median(times):.1f} ({times.min():.1f})"
            yield contender.strip(), f"{values.mean():.3f}", spread, shown

    print_table(
        ["", f"NDCG@{k}" if k else "NDCG", f"{seeds} seeds", "seconds (fastest)"], lines()
    )


def at_equal_time(seeds: int) -> None:
    """NDCG@10 by seconds of CPU, which other work on the machine hardly changes."""
    train, test = simulation(Path(), 0)
    trained: dict[str, Callable[[int], Scores]] = {}
    if importlib.util.find_spec("lightgbm"):
        for trees in (30, 50, 100):
            options = {"n_estimators": trees, "n_jobs": 1}
            trained[f"LightGBM, one thread, {trees} trees"] = functools.partial(
                lightgbm, train, **options
            )
    for epochs in (2, 3, 5, 10, 20):
        trained[f"`Ranker`, {epochs} epochs"] = functools.partial(ranker, train, epochs=epochs)
    found: dict[str, list[tuple[float, float]]] = {}
    for seed in range(seeds):
        for contender, made in trained.items():
            begin = time.process_time()
            scores = made(seed)
            seconds = time.process_time() - begin
            found.setdefault(contender, []).append(
                (quality(test, scores(test.features), 10), seconds)
            )
    print("simulated LETOR, NDCG@10 by seconds of CPU, tracing within\n")
    rows = (
        (contender, f"{np.mean([v for v, _ in runs]):.4f}", f"{min(s for _, s in runs):.1f}")
        for contender, runs in found.items()
    )
    print_table(["", "NDCG@10", "CPU seconds (fastest)"], rows)


def what_logs_show() -> None:
    """The loss that a training logs, by what a lambda loss is divided by, beside NDCG."""
    rows = Part(*letor(200, 0))
    with_swaps = SwapsOfNDCG(k=10)

    def lines():
        shown: dict[str, Any] = {"pairwise logistic": losses.PairwiseLogistic()}
        for divisor in ("pairs", "queries", "rows"):
            shown[f"LambdaRank, `normalize={divisor!r}`"] = losses.PairwiseLogistic(
                lambda_weight=with_swaps, normalize=divisor
            )
        shown |= {
            "softmax": losses.Softmax(),
            "softmax, `labels='normalized'`": losses.Softmax(labels="normalized"),
            "unique softmax": losses.UniqueSoftmax(),
            "ApproxNDCG": losses.ApproxNDCG(),
        }
        for name, loss in shown.items():
            made = Ranker(loss, random_state=0)
            made.fit(
                rows.features,
                rows.labels,
                qid=rows.query,
                eval_set=[(rows.features, rows.labels)],
                eval_qid=[rows.query],
            )
            logged = made.history_["loss"]
            ndcg = made.evals_result_["valid_0"]["ndcg@10"]
            yield (
                name,
                f"{logged[0]:.4g} to {logged[made.best_iteration_ - 1]:.4g}",
                f"{ndcg[0]:.3f} to {made.best_score_:.3f}",
            )

    print("What the log of a training shows: first and best epoch, on the rows trained on\n")
    print_table(["", "logged loss", "NDCG@10"], lines())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = [*DATA, "time", "logs"]
    parser.add_argument("--data", nargs="*", choices=parts, default=parts)
    parser.add_argument("--seeds", type=int, default=3, help="two thirds of it for LETOR (3)")
    parser.add_argument("--lightgbm", type=Path, default=Path("../shared/data/lightgbm_rank"))
    options = parser.parse_args()
    begin = time.perf_counter()
    tf.get_logger().setLevel("ERROR")  # a function traced for each model
    print(machine(), flush=True)
    for name in options.data:
        print()
        if name == "lightgbm" and not options.lightgbm.exists():
            print(f"{options.lightgbm}: not there, left out; see --lightgbm")
        elif name == "logs":
            what_logs_show()
        elif name == "time":
            at_equal_time(options.seeds)
        else:
            seeds = options.seeds if name != "letor" else max(1, 2 * options.seeds // 3)
            table_of(name, seeds, options.lightgbm)
    print(f"{machine()}; {(time.perf_counter() - begin) / 60:.1f} minutes")


if __name__ == "__main__":
    main()
