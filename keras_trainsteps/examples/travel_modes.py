"""Rank ways to travel by traveller: a pairwise loss by query id, with plain `fit`.

The data are 210 trips between Sydney and Melbourne; each traveller chose one of air, train, bus
and car (Greene's travel mode data, public domain, shipped by statsmodels). The traveller is the
query: only the four ways that one traveller had are compared.

    python -m keras_trainsteps.examples.travel_modes --plot travel_modes.png
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from collections.abc import Sequence
from typing import TypeAlias

import keras
import numpy as np
import statsmodels.api as sm
import tensorflow as tf
from statsmodels.discrete.conditional_models import ConditionalLogit

from keras_trainsteps import LossAwareModel, LossTerm, losses
from keras_trainsteps.data import query_batches
from keras_trainsteps.examples import travel_modes_report as report
from keras_trainsteps.examples.travel_modes_report import FIRST, MRR, NDCG, Table
from keras_trainsteps.metrics import MRR as MeanReciprocalRank
from keras_trainsteps.metrics import NDCG as NormalizedGain
from keras_trainsteps.metrics import HitRateAtK
from keras_trainsteps.rolling import load_for_inference, save_for_inference

MODES = ("air", "train", "bus", "car")
WAIT, COST, TIME = 0, 1, 2  # columns of the features
KNOWN = 150  # travellers that are trained on

Rows: TypeAlias = dict[str, np.ndarray]
"""Features and traveller ids."""


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


def load_trips() -> tuple[Rows, np.ndarray]:
    """The rows: features and traveller ids, and which way was chosen."""
    trips = sm.datasets.modechoice.load_pandas().data
    costs = trips[["ttme", "invc", "invt", "gc"]].to_numpy()
    mode = np.eye(4)[trips["mode"].astype(int) - 1]
    ids = trips["individual"].to_numpy().astype("int64")
    return {"features": np.hstack([costs, mode]), "query_id": ids}, trips["choice"].to_numpy()


def split(x: Rows, y: np.ndarray, *, seen: bool) -> tuple[Rows, np.ndarray]:
    """The rows of the travellers to train on, or of those that are never seen."""
    rows = (x["query_id"] <= KNOWN) == seen
    return {name: values[rows] for name, values in x.items()}, y[rows]


def build_ranker(features: np.ndarray) -> Ranker:
    """A small network that scores one row from its features."""
    inputs = keras.Input((features.shape[1],), name="features")
    scaled = keras.layers.Normalization()
    scaled.adapt(features)
    hidden = keras.layers.Dense(16, "relu", kernel_regularizer=keras.regularizers.L2(1e-4))
    scores = keras.layers.Dense(1)(hidden(scaled(inputs)))
    model = Ranker(inputs, keras.layers.Reshape(())(scores))
    model.compile(keras.optimizers.Adam(0.01))
    return model


def train_on_rows(x: Rows, y: np.ndarray, epochs: int) -> Ranker:
    """What Keras does with arrays: batches of 128 rows, wherever these cut a traveller."""
    model = build_ranker(x["features"])
    with warnings.catch_warnings():  # `fit` says how many queries are cut: so does the table
        warnings.filterwarnings("ignore", message=".*quer", category=UserWarning)
        bar = report.Bar("on batches of rows")
        model.fit(x, y, batch_size=128, epochs=epochs, verbose=0, callbacks=[bar])
    return model


def train_on_queries(x: Rows, y: np.ndarray, epochs: int, seed: int) -> Ranker:
    """Batches of whole travellers, 128 rows at most."""
    model = build_ranker(x["features"])
    batches = query_batches(x, y, query_ids="query_id", batch_size=128, seed=seed)
    model.fit(batches, epochs=epochs, verbose=0, callbacks=[report.Bar("on whole travellers")])
    return model


def conditional_logit(x: Rows, y: np.ndarray, features: np.ndarray) -> np.ndarray:
    """The econometrician's model of a choice, linear: fitted to `x`, scores of `features`."""
    mean, scale = x["features"].mean(0), x["features"].std(0)

    def scaled(values: np.ndarray) -> np.ndarray:
        others = values[:, :-1] - mean[:-1]  # ways are held against the last one
        return others / scale[:-1]

    fitted = ConditionalLogit(y, scaled(x["features"]), groups=x["query_id"]).fit(disp=False)
    return scaled(features) @ fitted.params


def quality(x: Rows, y: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """Means over travellers; equal scores count as the mean over their orders."""
    found = {}
    metrics = {NDCG: NormalizedGain(), MRR: MeanReciprocalRank(), FIRST: HitRateAtK(k=1)}
    for name, metric in metrics.items():
        metric.update_state(y, scores, query_ids=x["query_id"])
        found[name] = float(metric.result())
    return found


def run(epochs: int = 30, seed: int = 1) -> tuple[Table, Ranker]:
    """Trains on travellers 1 to 150; the quality of every way to rank the others."""
    keras.utils.set_random_seed(seed)
    train, (x, y) = (split(*load_trips(), seen=seen) for seen in (True, False))
    ranker = train_on_queries(*train, epochs, seed)
    untrained, on_rows = build_ranker(train[0]["features"]), train_on_rows(*train, epochs)
    ways = x["features"]
    scores = {
        "chance": np.zeros(len(y)),
        "cheapest first": -ways[:, COST],
        "fastest first": -ways[:, WAIT] - ways[:, TIME],
        "conditional logit (statsmodels)": conditional_logit(*train, ways),
        "this network before training": np.asarray(untrained(ways)),
        "  trained on batches of rows": np.asarray(on_rows(ways)),
        "  trained on whole travellers": np.asarray(ranker(ways)),
    }
    return {name: quality(x, y, values) for name, values in scores.items()}, ranker


def rank(scorer: keras.Model, travellers: Sequence[int]) -> None:
    """Prints the ways of some travellers, the best by `scorer` first."""
    x, chosen = load_trips()
    for traveller in travellers:
        rows = x["query_id"] == traveller
        scores = np.asarray(scorer(x["features"][rows]))
        report.print_ranking(traveller, MODES, scores, chosen[rows])


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains, prints what it is worth, saves the scorer and ranks three travellers with it."""
    parser = argparse.ArgumentParser(description="Ranks ways to travel, by traveller.")
    parser.add_argument("--epochs", type=int, default=30, help="passes over the data (30)")
    parser.add_argument("--seed", type=int, default=1, help="of weights and batches (1)")
    parser.add_argument("--plot", metavar="PNG", help="where to draw the table")
    options = parser.parse_args(arguments)
    if options.epochs < 1:
        parser.error(f"--epochs must be at least 1. Received: {options.epochs}")
    print(report.ABOUT.format(known=KNOWN, unseen=210 - KNOWN))
    table, ranker = run(options.epochs, options.seed)
    report.print_table(table)
    folder = tempfile.mkdtemp(prefix="travel_modes_") + "/scorer"
    save_for_inference(ranker, folder)
    print(f"\nsaved without its loss: {folder}\nand loaded as a stock Keras model, it ranks")
    rank(load_for_inference(folder), (163, 179, 195))
    if options.plot:
        report.draw(table, options.plot)
        print(f"drawn: {options.plot}")


if __name__ == "__main__":
    main()
