"""Every loss on two replicas against one device; run by test_replicas in its own process.

Prints one line a case: name, rows on the first replica, and the largest difference of
total, count or gradient.
"""

import sys

import keras
import numpy as np
import tensorflow as tf

from keras_trainsteps import losses
from tests.losses.every_loss import CASES, example


def of_case(case):
    """The loss of a case over its example, whose columns come in the order of their names."""
    batch = example(case)
    names = sorted(batch, key=lambda name: name not in case.takes)

    def loss(*columns):
        return case.term(dict(zip(names, columns, strict=True)))

    return loss, [batch[name] for name in names]


def cases():
    """A loss of columns, of which the first gets a gradient, and the columns."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 6, 4))
    found = {name: of_case(case) for name, case in CASES.items()}
    found |= {
        "lists": (lambda s, y: losses.softmax(y, s), [b, np.abs(a)]),
        "rows without a query": (
            lambda s, y, w: losses.mean_squared_error(y, s, query_weight=w),
            [b[:, 0], a[:, 0], np.arange(6.0)],
        ),
        "positives": (lambda p, a: losses.info_nce(a, p), [b, a]),
        "sampled": (
            lambda a, b, q: losses.info_nce(a, b, sampling_probability=q),
            [a, b, rng.uniform(0.1, 1, 6)],
        ),
        "several positives": (
            lambda a, b, q, i: losses.info_nce(a, b, positives_by=q, ids=i, symmetric=True),
            [a, b, np.array([1, 2, 1, 3, 2, 4]), np.array([5, 6, 7, 8, 9, 7])],
        ),
        "own negatives": (
            lambda n, a, b, i, j: losses.info_nce(a, b, negatives=n, ids=i, negative_ids=j),
            [rng.normal(size=(6, 2, 4)), a, b, np.arange(6), rng.integers(0, 9, (6, 2))],
        ),
        "gathered negatives": (
            lambda n, a, b, m: losses.info_nce(a, b, negatives=n, negative_mask=m),
            [b[::-1].copy(), a, b, np.arange(6) % 3 > 0],
        ),
        "views of classes": (
            lambda a, b, c: losses.nt_xent(a, b, positives_by=c),
            [a, b, np.array([1, 2, 1, 3, 2, 1])],
        ),
        "second views": (lambda b, a: losses.nt_xent(a, b), [b, a]),
        "boundary": (
            lambda beta, x, y: losses.margin_loss(y, x, beta=beta),
            [np.full(6, 1.2), a, np.array([0, 1, 0, 0, 1, 0])],
        ),
    }
    return found


def run(strategy, loss, columns, cut):
    def step(*columns):
        with tf.GradientTape() as tape:
            tape.watch(columns[0])
            term = loss(*columns)
        return *term, tape.gradient(term.total, columns[0])

    def share(column):
        parts = [tf.constant(column[:cut]), tf.constant(column[cut:])]
        return strategy.experimental_distribute_values_from_function(
            lambda context: parts[context.replica_id_in_sync_group]
        )

    one = step(*map(tf.constant, columns))
    two = tf.function(lambda *shares: strategy.run(step, args=shares))(*map(share, columns))
    total, count, slopes = (strategy.experimental_local_results(part) for part in two)
    return max(
        abs(float(sum(total) - one[0])),
        abs(float(sum(count) - one[1])),
        float(np.abs(np.concatenate(slopes) - one[2]).max()),
    )


def run_pool_weight(strategy):
    """`info_nce` with a weight as pool of negatives, which is not gathered."""
    a, b, negatives = np.random.default_rng(0).normal(size=(3, 6, 4))
    with strategy.scope():
        pool = keras.Variable(negatives, dtype="float64")

    def step(a, b, negatives, watched):
        with tf.GradientTape() as tape:
            tape.watch(watched)
            term = losses.info_nce(a, b, negatives=negatives)
        return *term, tape.gradient(term.total, watched)

    def share(column):
        parts = [tf.constant(column[:3]), tf.constant(column[3:])]
        return strategy.experimental_distribute_values_from_function(
            lambda context: parts[context.replica_id_in_sync_group]
        )

    values = tf.constant(negatives)
    one = step(tf.constant(a), tf.constant(b), values, values)
    two = tf.function(
        lambda *shares: strategy.run(lambda a, b: step(a, b, pool, pool.value), args=shares)
    )(share(a), share(b))
    found = [sum(strategy.experimental_local_results(part)) for part in two]
    return tuple(
        float(np.abs(part - expected).max()) for part, expected in zip(found, one, strict=True)
    )


def main():
    (cpu,) = tf.config.list_physical_devices("CPU")
    logical = tf.config.LogicalDeviceConfiguration()
    tf.config.set_logical_device_configuration(cpu, [logical, logical])
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    for name, (loss, columns) in cases().items():
        uneven = name in ("list_mle", "mined_triplet, all")
        for cut in (2, len(columns[0])) if uneven else (3,):
            print(name, cut, run(strategy, loss, columns, cut), sep="\t", file=sys.stdout)
    print("pool weight", 3, max(run_pool_weight(strategy)), sep="\t", file=sys.stdout)


if __name__ == "__main__":
    main()
