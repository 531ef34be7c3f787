"""Every metric by query on two replicas against one device; run by test_replicas on its own.

Prints one line a case: name, rows on the first replica, and the difference of the results.
"""

import sys

import numpy as np
import tensorflow as tf

from keras_trainsteps.metrics import ARP, DCG, MAP, MRR, NDCG, OPA, EditDistance
from tests.metrics.test_query_metric import CASES

TWICE = ("ndcg@3", "err@3", "map, weighed")  # also with a row alone


def builds():
    """Metrics by name, and which columns of weights each takes."""
    found = {name: (build, ()) for name, (build, _) in CASES.items()}
    both = ("sample_weight", "row_weight")
    return found | {
        "opa": (lambda: OPA("q"), ("sample_weight",)),
        "mrr, weighed": (lambda: MRR("q", weigh="relevant"), ("sample_weight",)),
        "ndcg, weighed": (lambda: NDCG("q", weigh="relevant"), both),
        "dcg, weighed": (lambda: DCG("q", weigh="relevant"), both),
        "arp, weighed": (lambda: ARP("q", normalize="relevance"), ("row_weight",)),
        "edit distance": (lambda: EditDistance(pad_id=0), ("sample_weight",)),
        "map, weighed": (lambda: MAP("q", weigh="relevant"), both),
    }


def batch():
    """Queries whose rows lie on both replicas, one of them without a relevant row, and ties."""
    rng = np.random.default_rng(0)
    y, s = rng.integers(0, 4, 18) * 1.0, rng.integers(0, 5, 18) * 1.0
    query = rng.integers(0, 5, 18)
    y[query == 2] = 0
    s[3] = -np.inf
    weights = {"sample_weight": rng.random(18), "row_weight": rng.random(18)}
    return {"y_true": y, "y_pred": s, "query_ids": query, "mask": rng.random(18) < 0.9, **weights}


def sequences():
    """References and predictions, of which one sequence has a weight of 0."""
    rng = np.random.default_rng(0)
    y, found = rng.integers(0, 4, (18, 5)), rng.integers(0, 4, (18, 4))
    return {"y_true": y, "y_pred": found, "sample_weight": np.arange(18) / 4}


def result(build, columns):
    metric = build()
    metric.update_state(**columns)
    return float(metric.result())


def on_two(strategy, build, columns, cut):
    with strategy.scope():
        metric = build()
    names = list(columns)

    def share(column):
        parts = [tf.constant(column[:cut]), tf.constant(column[cut:])]
        return strategy.experimental_distribute_values_from_function(
            lambda context: parts[context.replica_id_in_sync_group]
        )

    def step(*values):
        metric.update_state(**dict(zip(names, values, strict=True)))

    shares = tuple(share(columns[name]) for name in names)
    tf.function(lambda *values: strategy.run(step, args=values))(*shares)
    return float(metric.result())


def main():
    (cpu,) = tf.config.list_physical_devices("CPU")
    logical = tf.config.LogicalDeviceConfiguration()
    tf.config.set_logical_device_configuration(cpu, [logical, logical])
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    for name, (build, weights) in builds().items():
        given = sequences() if name == "edit distance" else batch()
        columns = {n: v for n, v in given.items() if not n.endswith("weight") or n in weights}
        expected = result(build, columns)
        for cut in (9, 1) if name in TWICE else (9,):
            found = on_two(strategy, build, columns, cut)
            print(name, cut, abs(found - expected), sep="\t")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
