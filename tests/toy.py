"""The toy problem of tests of single behaviours: ten rows, and a sum of three features.

With a learning rate of 0, and batches of 4, 4 and 2 rows, every expected number is a formula
of `X`, `Y` and `WEIGHTS`.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from keras_trainsteps import LossAwareModel

ROWS, BATCH = 10, 4
_RNG = np.random.default_rng(0)
X = _RNG.normal(size=(ROWS, 3)).astype("float32")
Y = (2 * _RNG.normal(size=(ROWS, 1))).astype("float32")
WEIGHTS = _RNG.uniform(1, 3, size=ROWS).astype("float32")
SUMS = X.astype("float64").sum(axis=1)
SQUARES = (SUMS - Y[:, 0].astype("float64")) ** 2
ABSOLUTE = np.sqrt(SQUARES)
MSE, MAE = np.mean(SQUARES), np.mean(ABSOLUTE)
BATCHES = [slice(0, 4), slice(4, 8), slice(8, 10)]
QUERIES = np.arange(ROWS) // 5
L2 = 3.0  # of a kernel of three ones

# Keras says so of every end of data that it did not know of.
UNKNOWN_LENGTH = pytest.mark.filterwarnings("ignore:Your input ran out of data")
# Batches of four rows that cut queries are what some tests want; the library warns of it.
CUT_QUERIES = pytest.mark.filterwarnings("ignore:.* queries of .* have rows that:UserWarning")


def dense(**options):
    return keras.layers.Dense(1, use_bias=False, kernel_initializer="ones", **options)


def network(cls=LossAwareModel, **options):
    """A Functional model whose output is the sum of the three features."""
    inputs = keras.Input((3,), name="features")
    return cls(inputs, dense(**options)(inputs))


def two_outputs(cls=LossAwareModel):
    """A Functional model with that output twice, as `a` and `b`."""
    inputs = keras.Input((3,))
    return cls(inputs, [dense(name="a")(inputs), dense(name="b")(inputs)])


def hooked(hook, *, base=LossAwareModel, side_inputs=(), weighted=False):
    """A class whose hook is `hook(x, y, y_pred)`; if `weighted`, with `sample_weight` last."""

    def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
        return hook(x, y, y_pred, sample_weight) if weighted else hook(x, y, y_pred)

    names = {"compute_losses": compute_losses, "side_inputs": tuple(side_inputs)}
    return type("Hooked", (base,), names)


def squares(x, y, y_pred):
    """A hook: the squared error, one value per row."""
    return {"squares": ops.square(y_pred - y)}


def pairs(scores, labels, queries):
    """The logistic loss of the preference pairs of each query, by plain loops."""
    return [
        np.log1p(np.exp(scores[j] - scores[i]))
        for i in range(len(scores))
        for j in range(len(scores))
        if queries[i] == queries[j] and labels[i] > labels[j]
    ]


def unknown_cardinality(x=X, y=Y):
    """Five static batches, and nobody knows how many."""
    data = tf.data.Dataset.from_tensor_slices((x, y)).filter(lambda *_: True)
    return data.batch(2, drop_remainder=True)


def generator():
    """The same five batches."""
    for first in range(0, ROWS, 2):
        yield X[first : first + 2], Y[first : first + 2]


def still(model, **options):
    """Compiles with a learning rate of 0, so that every epoch sees the same weights."""
    model.compile(keras.optimizers.SGD(0.0), **options)
    return model


def fit(model, x=X, y=Y, **options):
    """The history of an epoch in three batches."""
    return model.fit(
        x, y, **{"batch_size": BATCH, "shuffle": False, "verbose": 0, **options}
    ).history


def evaluate(model, x=X, y=Y, **options):
    """The logs of three batches, by name."""
    return model.evaluate(
        x, y, **{"batch_size": BATCH, "verbose": 0, "return_dict": True, **options}
    )


def close(expected, rel=1e-5):
    """`expected` up to the rounding of float32."""
    return pytest.approx(expected, rel=rel, abs=1e-6)


def calls_by_hand(base=LossAwareModel, side_inputs=()):
    """A class with a `call` of its own, and the keys of the dicts that it was called on."""
    seen = []

    class Called(base):
        def __init__(self):
            super().__init__()
            self.scores = dense()

        def call(self, inputs):
            seen.append(sorted(inputs))
            return self.scores(inputs["features"])

    Called.side_inputs = tuple(side_inputs)
    return Called, seen
