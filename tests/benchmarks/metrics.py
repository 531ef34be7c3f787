"""What an update of a metric costs, beside Keras-RS's of the same padded lists.

    python -m tests.benchmarks.metrics             # two minutes
    python -m tests.benchmarks.metrics NDCG        # what has this in its name

Median and fastest milliseconds of one `update_state` in a `tf.function`, ids and checks included,
interleaved in one process, and the ratios of both to Keras-RS's, or to what is named. `flat` are
rows with ids, `padded` lists without, `tied` are flat rows of one score, which honest ties make
the same for every order.
"""

from __future__ import annotations

import itertools
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from keras_trainsteps import LossAwareModel, metrics
from keras_trainsteps.data import query_batches
from keras_trainsteps.losses import Softmax
from keras_trainsteps.metrics.by_query import group
from keras_trainsteps.rolling.gate.rank_correlation import kendall_tau
from keras_trainsteps.step.running import Running
from tests.benchmarks.pairs import batch, padded
from tests.benchmarks.timing import interleaved, machine, report

K = 10
OWN = {
    "NDCG": lambda: metrics.NDCG("q", k=K),
    "DCG": lambda: metrics.DCG("q", k=K),
    "MRR": lambda: metrics.MRR("q", k=K),
    "MAP": lambda: metrics.MAP("q", k=K),
    "Precision": lambda: metrics.PrecisionAtK("q", k=K),
    "Recall": lambda: metrics.RecallAtK("q", k=K),
    "HitRate": lambda: metrics.HitRateAtK("q", k=K),
    "F1": lambda: metrics.F1AtK("q", k=K),
    "RPrecision": lambda: metrics.RPrecision("q"),
    "BPref": lambda: metrics.BPref("q"),
    "RBP": lambda: metrics.RBP("q", k=K),
    "ERR": lambda: metrics.ERR("q", k=K, highest_label=4),
    "QueryAUC": lambda: metrics.QueryAUC("q"),
    "KendallTau": lambda: metrics.KendallTau("q"),
    "SpearmanRho": lambda: metrics.SpearmanRho("q"),
    "PairAccuracy": lambda: metrics.PairAccuracy("q"),
}
SEVERAL = ("NDCG", "MRR", "MAP", "Recall")


def peers():
    """The metrics of Keras-RS by the names of ours; none where it is not installed."""
    try:
        import keras_rs
    except ImportError:
        return {}
    of = keras_rs.metrics
    return {
        "NDCG": lambda: of.NDCG(k=K),
        "DCG": lambda: of.DCG(k=K),
        "MRR": lambda: of.MeanReciprocalRank(k=K),
        "MAP": lambda: of.MeanAveragePrecision(k=K),
        "Precision": lambda: of.PrecisionAtK(k=K),
        "Recall": lambda: of.RecallAtK(k=K),
    }


def own_update(builds, columns, query_ids=None):
    """One batch after the other to metrics of ours, in a model's step, as `fit` runs them.

    With ids each batch has new ones, and the look-out for cut queries is on.
    """
    made = [build() for build in builds]
    for metric in made:
        metric.query_ids = None if query_ids is None else "q"
    unknown = tf.TensorSpec([None] * columns[0][0].ndim, tf.float32)
    ids = tf.constant(np.zeros(0, int) if query_ids is None else query_ids)
    number = tf.Variable(0, dtype=tf.int64)

    @tf.function(input_signature=[unknown, unknown, tf.TensorSpec([None], tf.int64)])
    def run(y, s, q):
        with Running({"q": q + number.assign_add(2**20)}):
            for metric in made:
                metric.update_state(y, s)

    batches = itertools.cycle([tuple(map(tf.constant, pair)) for pair in columns])
    return lambda: run(*next(batches), ids)


def peer_update(builds, columns):
    made = [build() for build in builds]
    spec = tf.TensorSpec((None, None), tf.float32)

    @tf.function(input_signature=[spec, spec])
    def run(y, s):
        for metric in made:
            metric.update_state(y, s)

    batches = itertools.cycle([tuple(map(tf.constant, pair)) for pair in columns])
    return lambda: run(*next(batches))


def contenders(name, names):
    """The updates of one kind of batch by what they are called."""
    y_true, y_pred, query, _ = batch(name)
    # Several, so that no processor learns the outcome of every comparison of a sort.
    rng = np.random.default_rng(2)
    scores = [rng.normal(size=len(y_pred)).astype("float32") for _ in range(8)]
    flat = [(y_true, one) for one in scores]
    lists = [(padded(y_true, query, 0.0), padded(one, query, -99.0)) for one in scores]
    builds = [OWN[one] for one in names]
    found = {
        "flat": own_update(builds, flat, query),
        "tied": own_update(builds, [(y_true, np.zeros_like(y_pred))], query),
    }
    if lists[0][0].size == len(y_true):
        found["padded"] = own_update(builds, lists)
    known = peers()
    if all(one in known for one in names):
        found["Keras-RS"] = peer_update([known[one] for one in names], lists)
    return found


def pair_accuracy_and_tau():
    """Of one long query; beside scipy's `kendalltau`, where it is installed."""
    try:
        from scipy.stats import kendalltau
    except ImportError:
        kendalltau = None
    for rows in (4096, 16384, 131072):
        y_true, y_pred, query, _ = batch(f"1 x {rows}")
        graded = np.argsort(np.random.default_rng(3).normal(size=rows)).astype("float32")
        queries = group(query)
        found = {
            "pair accuracy, 5 grades": own_update(
                [OWN["PairAccuracy"]], [(y_true, y_pred)], query
            ),
            "pair accuracy, all labels differ": own_update(
                [OWN["PairAccuracy"]], [(graded, y_pred)], query
            ),
            "query AUC": own_update([OWN["QueryAUC"]], [(y_true, y_pred)], query),
            "the gate's Kendall": lambda a=graded, b=y_pred, q=queries: kendall_tau(a, b, q),
        }
        if kendalltau is not None:
            found["scipy.stats.kendalltau"] = lambda a=graded, b=y_pred: kendalltau(a, b)
        report(f"one query of {rows} rows", interleaved(found, 3.0), "scipy.stats.kendalltau")


def epochs(name, steps=40):
    """An epoch of a small network with a softmax loss, with and without metrics."""
    y_true, _, query, number = batch(name)
    rng = np.random.default_rng(0)
    x = {
        "features": rng.normal(size=(len(query) * steps, 32)).astype("float32"),
        "q": np.concatenate([query + number * step for step in range(steps)]),
    }
    y = np.tile(y_true, steps)[:, None]
    data = query_batches(x, y, query_ids="q", batch_size=len(query), shuffle=False)
    kinds = {
        "without metrics": [],
        "NDCG": [OWN["NDCG"]],
        "NDCG, MRR, MAP, Recall": [OWN[one] for one in SEVERAL],
    }

    def epoch(builds):
        inputs = keras.Input((32,), name="features")
        hidden = keras.layers.Dense(64, "relu")(inputs)
        model = LossAwareModel(inputs, keras.layers.Dense(1)(hidden))
        model.compile("adam", Softmax("q"), metrics=[build() for build in builds])
        cached = data.cache()
        return lambda: model.fit(cached, verbose=0)

    report(
        f"an epoch of {steps} batches, {name}",
        interleaved({kind: epoch(builds) for kind, builds in kinds.items()}, 6.0),
        "without metrics",
    )


def main() -> None:
    wanted = sys.argv[1:]
    print(machine())
    print(f"\nk = {K}; milliseconds, and ratios to Keras-RS\n")
    for name in ("64 x 16", "64 x 32", "1 x 4096", "log-normal"):
        for one in OWN:
            if not wanted or any(part in one for part in wanted):
                report(f"{one}, {name}", interleaved(contenders(name, [one]), 0.6), "Keras-RS")
        if not wanted:
            report(
                f"{', '.join(SEVERAL)}, {name}",
                interleaved(contenders(name, SEVERAL), 0.6),
                "Keras-RS",
            )
    if not wanted or "Pair" in wanted:
        pair_accuracy_and_tau()
    if not wanted or "fit" in wanted:
        epochs("64 x 16")
        epochs("64 x 32")


if __name__ == "__main__":
    main()
