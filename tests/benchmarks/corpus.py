"""`CorpusRecall` beside NumPy's matrix product with `argpartition`, and their memory.

python -m tests.benchmarks.corpus    # five minutes: 100,000 items by 10,000 queries
"""

from __future__ import annotations

import os
import resource

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from keras_trainsteps.metrics import CorpusRecall
from tests.benchmarks.timing import interleaved, machine, report

ITEMS, QUERIES, DIMENSIONS, K, ROWS = 100_000, 10_000, 64, 100, 500


def main() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(ITEMS, DIMENSIONS)).astype("float32")
    queries = rng.normal(size=(QUERIES, DIMENSIONS)).astype("float32")
    wanted = rng.integers(0, ITEMS, QUERIES)
    queries += 0.3 * vectors[wanted]
    corpus = {"item": np.arange(ITEMS), "vector": vectors}
    metric = CorpusRecall(K, corpus=corpus, tower=keras.layers.Identity(), item_id="item")
    update = tf.function(lambda q, i: metric.update_state(None, q, item_id=i))
    batches = [slice(begin, begin + ROWS) for begin in range(0, QUERIES, ROWS)]

    def own() -> float:
        metric.reset_state()
        for rows in batches:
            update(tf.constant(queries[rows]), tf.constant(wanted[rows]))
        return float(metric.result())

    def by_numpy() -> float:
        hits = 0
        for rows in batches:
            best = np.argpartition(queries[rows] @ vectors.T, ITEMS - K, axis=1)[:, -K:]
            hits += (best == wanted[rows, None]).any(1).sum()
        return hits / QUERIES

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    value = own()
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"{machine()}\n\nCorpusRecall {value:.4f}, +{(after - before) / 1024:.0f} MB at the peak"
    )
    print(f"NumPy {by_numpy():.4f}, products of a batch {4 * ROWS * ITEMS / 2**20:.0f} MB\n")
    report("recall@100", interleaved({"NumPy": by_numpy, "CorpusRecall": own}), "NumPy")


if __name__ == "__main__":
    main()
