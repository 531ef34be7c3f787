"""The toy problem of tests of single behaviours: ten rows, and a sum of three features.

With a learning rate of 0, and batches of 4, 4 and 2 rows, every expected number is a formula
of `X`, `Y` and `WEIGHTS`.
"""

import keras
import numpy as np
import pytest

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


def dense(**options):
    return keras.layers.Dense(1, use_bias=False, kernel_initializer="ones", **options)


def network(cls=LossAwareModel, **options):
    """A Functional model whose output is the sum of the three features."""
    inputs = keras.Input((3,), name="features")
    return cls(inputs, dense(**options)(inputs))


def hooked(hook, *, base=LossAwareModel, side_inputs=()):
    """A class whose hook is `hook(x, y, y_pred)`."""

    def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
        return hook(x, y, y_pred)

    names = {"compute_losses": compute_losses, "side_inputs": tuple(side_inputs)}
    return type("Hooked", (base,), names)


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
