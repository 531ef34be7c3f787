"""Models and data that several tests of `rolling` use."""

import keras
import numpy as np

from keras_trainsteps import LossAwareModel, losses


class Ranker(LossAwareModel):
    """Two named terms by query; a trainable coefficient belongs to the model itself."""

    side_inputs = ("query_id",)

    def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
        scale = keras.ops.exp(self.log_scale)
        return {
            "pairwise": losses.pairwise_logistic(y, scale * y_pred, query_ids=x["query_id"]),
            "scale": keras.ops.square(self.log_scale - 0.5),
        }


def ranker(width=4, name="hidden", activation="relu", dropout=0.0, head="head"):
    """A Functional ranker with a coefficient."""
    inputs = keras.Input((3,), name="features")
    hidden = keras.layers.Dense(width, activation, name=name)(inputs)
    if dropout:
        hidden = keras.layers.Dropout(dropout)(hidden)
    scores = keras.layers.Dense(1, name=head)(hidden)
    model = Ranker(inputs, keras.layers.Reshape(())(scores))
    model.log_scale = model.add_weight(name="log_scale", shape=(), initializer="zeros")
    return model


def ranking_data(rows=40, seed=0):
    """Rows of ten queries."""
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(rows, 3)).astype("float32")
    labels = (features[:, 0] + generator.normal(size=rows) > 0).astype("float32")
    queries = np.repeat(np.arange(10), -(-rows // 10))[:rows]
    return {"features": features, "query_id": queries}, labels


def state_of(model):
    """All values of a model and its optimizer, for comparison to the bit."""
    variables = [*model.variables]
    if getattr(model, "optimizer", None) is not None:
        variables += model.optimizer.variables
    return [keras.ops.convert_to_numpy(variable).tobytes() for variable in variables]
