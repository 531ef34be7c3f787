"""A lambda weight of a user's own: in `compile`, saved with its model, and right."""

import keras
import numpy as np
import tensorflow as tf

from keras_trainsteps import LossAwareModel, losses
from keras_trainsteps.losses.lambda_weights import LambdaWeight, PairFactor, ranks
from tests.reference.pairwise import pairwise


@keras.saving.register_keras_serializable("tests.own_lambda_weight")
class NearTheTop(LambdaWeight):
    """A pair weighs by how near to the top its higher row is."""

    def __init__(self, power=1.0):
        self.power = power

    def factor(self, rows):
        rank = 1 + tf.cast(ranks(rows.y_pred, rows), tf.float64)

        def weigh(i, j):
            return tf.minimum(i["rank"], j["rank"]) ** -self.power

        return PairFactor(weigh, {"rank": rank})

    def get_config(self):
        return {"power": self.power}


def by_hand(y, s, i, j, power=0.5):
    rank = {
        row: place + 1.0 for place, row in enumerate(sorted(range(len(s)), key=lambda r: -s[r]))
    }
    return min(rank[i], rank[j]) ** -power


def test_in_compile_saved_and_loaded(tmp_path):
    inputs = keras.Input((3,), name="features")
    model = LossAwareModel(inputs, keras.layers.Dense(1)(inputs))
    loss = losses.PairwiseLogistic(lambda_weight=NearTheTop(power=0.5))
    model.compile("sgd", loss=loss, run_eagerly=True)
    rng = np.random.default_rng(0)
    x = {"features": rng.normal(size=(12, 3)).astype("float32"), "query_id": np.arange(12) // 4}
    y = rng.integers(0, 3, 12).astype("float32")
    model.fit(x, y, batch_size=12, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert repr(again.loss) == repr(loss)
    again.compile("sgd", loss=again.loss, run_eagerly=True)
    scores = model(x)[:, 0].numpy()
    total, count, *_ = pairwise("LOGISTIC", y, scores, x["query_id"], factor=by_hand)
    for one in (model, again):
        logs = one.evaluate(x, y, 12, 0, return_dict=True)
        np.testing.assert_allclose(logs["loss"], total / count, rtol=1e-5)
