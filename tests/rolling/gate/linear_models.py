"""Linear models of two features, and 30 queries of 8 rows to compare them on."""

import keras
import numpy as np

from keras_trainsteps.rolling import evaluate_candidate

GOOD, BAD = (1.0, 0.0), (0.0, 1.0)
RNG = np.random.default_rng(0)
QUERIES = np.repeat(np.arange(30), 8)
X = RNG.normal(size=(240, 2)).astype("float32")
Y = (X[:, 0] + 0.3 * RNG.normal(size=240) > 0).astype("float32")


def linear(*weights, bias=0.0):
    """A linear model; it predicts eagerly, which is faster for so few rows."""
    model = keras.Sequential([keras.Input((2,), name="f"), keras.layers.Dense(1)])
    model.set_weights([np.array(weights, "float32")[:, None], np.array([bias], "float32")])
    model.run_eagerly = True
    return model


def gate(champion, challenger, *thresholds, data=(X, Y), **options):
    """The gate's verdict on two models, given by their weights."""
    champion = None if champion is None else linear(*champion)
    options = {"query_ids": QUERIES, **options}
    return evaluate_candidate(
        champion, linear(*challenger), data, thresholds=thresholds, **options
    )
