"""The names that users may rely on."""

import keras_trainsteps
from keras_trainsteps import data, losses, metrics, penalties, plots


def public(module):
    return sorted(name for name in vars(module) if not name.startswith("_") and name[0].isupper())


def test_the_package():
    assert public(keras_trainsteps) == ["LossAwareModel", "LossAwareSequential", "LossTerm"]
    assert keras_trainsteps.__version__ == "0.1.0"


def test_the_shelves():
    assert "PairwiseLogistic" in public(losses)
    assert callable(losses.pairwise_logistic)
    assert {"NDCG", "PairAccuracy"} <= set(public(metrics))
    assert callable(data.query_batches)
    assert callable(plots.plot_history)
    assert {"L2SP", "TrainableCoefficient", "UncertaintyWeighting", "WeightPenalty"} <= set(
        public(penalties)
    )
    assert callable(penalties.sum_of_norms)
