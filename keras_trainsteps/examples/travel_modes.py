"""Rank ways to travel by traveller: a pairwise loss by query id, with plain `fit`.

The data are 210 trips between Sydney and Melbourne; each traveller chose one of air,
train, bus and car (Greene's travel mode data, public domain, shipped by statsmodels). The
traveller is the query: only the four ways that one traveller had are compared.

    python -m keras_trainsteps.examples.travel_modes
"""

from __future__ import annotations

import keras
import numpy as np
import statsmodels.api as sm
import tensorflow as tf

from keras_trainsteps import LossAwareModel, LossTerm, losses
from keras_trainsteps.data import query_batches
from keras_trainsteps.metrics import NDCG, PairAccuracy


class Ranker(LossAwareModel):
    """Scores rows so that, for each query, better rows score higher."""

    side_inputs = ("query_id",)

    def compute_losses(
        self,
        x: dict[str, tf.Tensor],
        y: tf.Tensor,
        y_pred: tf.Tensor,
        sample_weight: tf.Tensor | None = None,
        training: bool = True,
    ) -> dict[str, LossTerm]:
        """The pairwise logistic loss over the pairs of each query."""
        term = losses.pairwise_logistic(
            y, y_pred, query_ids=x["query_id"], sample_weight=sample_weight
        )
        return {"pairwise": term}


def load_trips() -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The rows: features and traveller ids, and which way was chosen."""
    trips = sm.datasets.modechoice.load_pandas().data
    costs = trips[["ttme", "invc", "invt", "gc"]].to_numpy()
    mode = np.eye(4)[trips["mode"].astype(int) - 1]
    ids = trips["individual"].to_numpy().astype("int64")
    return {"features": np.hstack([costs, mode]), "query_id": ids}, trips["choice"].to_numpy()


def build_ranker(features: np.ndarray) -> Ranker:
    """A small network that scores one row from its features."""
    inputs = keras.Input((features.shape[1],), name="features")
    scaled = keras.layers.Normalization()
    scaled.adapt(features)
    hidden = keras.layers.Dense(16, "relu", kernel_regularizer=keras.regularizers.L2(1e-4))
    scores = keras.layers.Dense(1)(hidden(scaled(inputs)))
    return Ranker(inputs, keras.layers.Reshape(())(scores))


def main(epochs: int = 30) -> dict[str, float]:
    """Trains on travellers 1 to 150 and returns the metrics of the others."""
    keras.utils.set_random_seed(1)
    x, y = load_trips()
    known = x["query_id"] <= 150
    train = ({name: values[known] for name, values in x.items()}, y[known])
    test = ({name: values[~known] for name, values in x.items()}, y[~known])

    model = build_ranker(train[0]["features"])
    model.compile(
        keras.optimizers.Adam(0.01),
        metrics=[NDCG("query_id", k=1, name="top_1"), PairAccuracy("query_id")],
    )
    model.fit(
        query_batches(*train, query_ids="query_id", batch_size=128, seed=1),
        validation_data=query_batches(*test, query_ids="query_id", shuffle=False),
        epochs=epochs,
        verbose=2,
    )
    result: dict[str, float] = model.evaluate(
        query_batches(*test, query_ids="query_id", shuffle=False),
        return_dict=True,
        verbose=0,
    )
    print("travellers not seen:", {name: round(value, 3) for name, value in result.items()})
    return result


if __name__ == "__main__":
    main()
