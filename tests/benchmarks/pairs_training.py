"""One network trained on the same batches with three pairwise losses.

    python -m tests.benchmarks.pairs_training

The library's loss, over all ordered pairs, is compared with the formula of the closure over
query ids, and its loss over preference pairs with Keras-RS on padded lists. The weights at
the start and the batches are the same, so the losses must end equal. The first epoch, in
which the functions are traced, is not timed.
"""

from __future__ import annotations

import importlib.util
import sys
import time

import keras
import numpy as np
import tensorflow as tf

from keras_trainsteps import LossAwareModel, losses

from .pairs import list_sizes, padded, seed_loss
from .timing import Times, print_table, times_of

EPOCHS = 6
FEATURES = 20


class Ranker(LossAwareModel):
    """A ranker with a loss of the scores, labels and query ids of a batch."""

    side_inputs = ("query_id",)
    loss_of_batch = None

    def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
        """The one loss."""
        return {"pairwise": self.loss_of_batch(y, y_pred, x["query_id"])}


def preference(y_true, y_pred, query):
    """The library, over preference pairs."""
    return losses.pairwise_logistic(y_true, y_pred, query_ids=query)


def all_pairs(y_true, y_pred, query):
    """The library, over all ordered pairs."""
    return losses.pairwise_logistic(y_true, y_pred, query_ids=query, pairs="all")


def seed(y_true, y_pred, query):
    """The formula of the closure over query ids."""
    return seed_loss(y_true[:, 0], y_pred[:, 0], query)


def network(kind: type[keras.Model], shape: tuple[int, ...]) -> keras.Model:
    keras.utils.set_random_seed(0)
    features = keras.Input(shape, name="features")
    hidden = keras.layers.Dense(32, activation="tanh")(features)
    return kind(features, keras.layers.Dense(1)(hidden))


def batches() -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Features, labels and query ids of batches of 8,192 rows."""
    rng = np.random.default_rng(2)
    sizes = list_sizes("log-normal")
    truth = rng.normal(size=(FEATURES, 1))
    made = []
    for number in range(4):
        x = rng.normal(size=(sizes.sum(), FEATURES)).astype(np.float32)
        signal = (x @ truth)[:, 0] / 2 + rng.normal(size=len(x))
        y = np.digitize(signal, [-1.0, 0.0, 1.0, 2.0]).astype(np.float32)
        made.append((x, y, np.repeat(np.arange(len(sizes)), sizes) + number * len(sizes)))
    return made


def dataset(items: list) -> tf.data.Dataset:
    made = tf.data.Dataset.from_generator(
        lambda: iter(items),
        output_signature=tf.nest.map_structure(
            lambda x: tf.TensorSpec([None, *x.shape[1:]], x.dtype), items[0]
        ),
    )
    return made.apply(tf.data.experimental.assert_cardinality(len(items)))


def timed(model: keras.Model, data: tf.data.Dataset) -> tuple[Times, keras.Model]:
    """Seconds of all epochs but the first, and the trained model."""
    seconds = []
    for _ in range(EPOCHS):
        start = time.perf_counter()
        model.fit(data, shuffle=False, verbose=0)
        seconds.append(time.perf_counter() - start)
    return times_of(seconds[1:]), model


def final_loss(model: keras.Model, loss_of_batch) -> float:
    """The loss over all batches with the trained weights, by one yardstick for all."""
    scorer = network(keras.Model, (FEATURES,))
    scorer.set_weights(model.get_weights())
    terms = [loss_of_batch(y[:, None], scorer(x), q) for x, y, q in batches()]
    return float(sum(term.total for term in terms) / sum(term.count for term in terms))


def flat_fit(loss_of_batch) -> tuple[Times, keras.Model]:
    model = network(Ranker, (FEATURES,))
    model.loss_of_batch = loss_of_batch
    model.compile(keras.optimizers.SGD(0.1))
    return timed(
        model, dataset([({"features": x, "query_id": q}, y[:, None]) for x, y, q in batches()])
    )


def keras_rs_fit() -> tuple[Times, keras.Model]:
    """Keras-RS on padded lists, with the denominator of pairs that Keras-RS leaves out."""
    import keras_rs

    items, pairs = [], 0
    for x, y, q in batches():
        q = q - q[0]  # lists are numbered from 0
        same = q[:, None] == q
        pairs = int((same & (y[:, None] > y)).sum())
        lists = [padded(x[:, k], q, 0.0) for k in range(FEATURES)]
        labels = padded(y, q, -1.0)
        items.append((np.stack(lists, axis=-1), labels, np.full(len(labels), 1.0 / pairs)))
    peer = keras_rs.losses.PairwiseLogisticLoss(reduction="sum")

    class PaddedRanker(keras.Model):
        """Keras-RS wants `(lists, rows)`."""

        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            total = peer(y, tf.squeeze(y_pred, -1))
            return total * tf.cast(sample_weight[0], total.dtype)

    model = network(PaddedRanker, (None, FEATURES))
    model.compile(keras.optimizers.SGD(0.1))
    return timed(model, dataset(items))


def main() -> None:
    """Prints seconds an epoch and the final loss of each."""
    print(
        "`fit`, 4 batches of 8,192 rows in queries of 1 to 1,000: seconds an epoch, final loss\n"
    )
    contenders = {
        "here": (preference, lambda: flat_fit(preference)),
        "Keras-RS, padded": (preference, keras_rs_fit),
        "here, all pairs": (all_pairs, lambda: flat_fit(all_pairs)),
        "formula": (all_pairs, lambda: flat_fit(seed)),
    }
    if not importlib.util.find_spec("keras_rs"):
        print("not installed: keras-rs", file=sys.stderr)
        del contenders["Keras-RS, padded"]

    def rows():
        for name, (yardstick, run) in contenders.items():
            seconds, model = run()
            yield [name, seconds, f"{final_loss(model, yardstick):.6f}"]

    print_table(["", "seconds", "loss"], rows())


if __name__ == "__main__":
    main()
