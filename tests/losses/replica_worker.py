"""Every loss on two replicas against one device; run by test_replicas in its own process.

Prints one line a case: name, rows on the first replica, and the largest difference of
total, count or gradient.
"""

import sys

import numpy as np
import tensorflow as tf

from keras_trainsteps.losses.contrastive import margin_loss
from keras_trainsteps.losses.info_nce import info_nce
from keras_trainsteps.losses.pointwise import mean_squared_error
from keras_trainsteps.losses.sequence import masked_crossentropy
from keras_trainsteps.losses.supervised_contrastive import nt_xent
from keras_trainsteps.losses.triplet import triplet
from tests.losses import test_embedding_invariants, test_row_invariants
from tests.losses.embedding_losses import LABEL_LOSSES
from tests.losses.rows import ROW_LOSSES


def row_case(loss):
    def step(y_true, y_pred, query_ids, mask, sample_weight, query_weight):
        return loss(
            y_true,
            y_pred,
            query_ids=query_ids,
            mask=mask,
            sample_weight=sample_weight,
            query_weight=query_weight,
        )

    return step, list(test_row_invariants.example())


def label_case(loss):
    def step(y_true, y_pred, mask, sample_weight):
        return loss(y_true, y_pred, mask=mask, sample_weight=sample_weight)

    return step, list(test_embedding_invariants.example())


def cases():
    """A step of columns, of which column 1 gets a gradient, and the columns."""
    rng = np.random.default_rng(0)
    a, b, c = rng.normal(size=(3, 6, 4))
    found = {name: row_case(loss) for name, loss in ROW_LOSSES.items()}
    found |= {name: label_case(loss) for name, loss in LABEL_LOSSES.items()}
    found |= {
        "lists": (ROW_LOSSES["softmax"], [np.abs(a), b]),
        "rows without a query": (
            lambda y, s, w: mean_squared_error(y, s, query_weight=w),
            [a[:, 0], b[:, 0], np.arange(6.0)],
        ),
        "sequence": (
            lambda y, z: masked_crossentropy(y, z, pad_id=0),
            [rng.integers(0, 4, (6, 3)), rng.normal(size=(6, 3, 4))],
        ),
        "triplet": (triplet, [a, b, c]),
        "info_nce": (
            lambda a, b, q: info_nce(a, b, sampling_probability=q),
            [a, b, rng.uniform(0.1, 1, 6)],
        ),
        "nt_xent": (nt_xent, [a, b]),
        "boundary": (
            lambda x, beta, y: margin_loss(y, x, beta=beta),
            [a, np.full(6, 1.2), np.array([0, 1, 0, 0, 1, 0])],
        ),
    }
    return found


def run(strategy, loss, columns, cut):
    def step(*columns):
        with tf.GradientTape() as tape:
            tape.watch(columns[1])
            term = loss(*columns)
        return *term, tape.gradient(term.total, columns[1])

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


def main():
    (cpu,) = tf.config.list_physical_devices("CPU")
    logical = tf.config.LogicalDeviceConfiguration()
    tf.config.set_logical_device_configuration(cpu, [logical, logical])
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    for name, (loss, columns) in cases().items():
        for cut in (2, len(columns[0])) if name in ("list_mle", "all") else (3,):
            print(name, cut, run(strategy, loss, columns, cut), sep="\t", file=sys.stdout)


if __name__ == "__main__":
    main()
