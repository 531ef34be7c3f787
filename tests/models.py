"""Small models that several tests share."""

import keras
import numpy as np

from keras_trainsteps import LossAwareModel, losses


@keras.saving.register_keras_serializable("tests")
class SquaredError(LossAwareModel):
    """The squared error, one value a row."""

    def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
        return {"squared_error": keras.ops.mean(keras.ops.square(y - y_pred), axis=-1)}


@keras.saving.register_keras_serializable("tests")
class Ranker(LossAwareModel):
    """A loss that compares the rows of a query, together with a pointwise one."""

    side_inputs = ("query_id",)

    def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
        ranking = losses.list_mle(y, y_pred, query_ids=x["query_id"], sample_weight=sample_weight)
        return {"ranking": ranking, "squared": keras.ops.square(y - y_pred)}


def linear(cls=LossAwareModel, width=3, **dense):
    """`Dense(1)` on `width` features, with a kernel of ones unless told otherwise."""
    options = {"kernel_initializer": "ones", **dense}
    inputs = keras.Input((width,), name="features")
    return cls(inputs, keras.layers.Dense(1, **options)(inputs))


def ranking_batch(rows=24, queries=5, seed=0):
    """Features, query ids above 2**24, graded labels."""
    rng = np.random.default_rng(seed)
    x = {
        "features": rng.normal(size=(rows, 3)).astype("float32"),
        "query_id": rng.integers(0, queries, size=rows) + 2**40,
    }
    return x, rng.integers(0, 3, size=(rows, 1)).astype("float32")
