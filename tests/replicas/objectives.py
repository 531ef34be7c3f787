"""A model of several objectives, a moving average and a queue, for replicas: nothing is drawn."""

import keras
from keras import ops

from keras_trainsteps import Ema, LossAwareModel, Objective, Queue, losses
from tests.parity.objectives.by_hand import dense


class Rows(LossAwareModel):
    """Networks that are trained in turn, some of them from one pass."""

    after_step = (
        Ema("generator", into="average", momentum=0.9),
        Queue("made", size=7, shape=(3,)),
    )
    side_inputs = ("query_id",)

    def __init__(self):
        super().__init__()
        self.generator, self.average, self.critic = dense(3, 4, 3), dense(3, 4, 3), dense(3, 4, 1)
        last = keras.layers.Dense(1, kernel_regularizer=keras.regularizers.L2(0.1))
        self.scorer = keras.Sequential([keras.Input((3,)), last])

    def call(self, x):
        return self.scorer(x["features"])

    def objectives(self):
        trains = {"critic": ("apart", "slope"), "generator": "fooled"}
        return {
            "gan": Objective(self.play, trains=trains, repeat=2),
            "scorer": Objective(self.score, trains="scorer"),
        }

    def play(self, x):
        real, fake = x["features"], self.generator(x["features"])
        self.pass_on("made", fake)
        return {
            "apart": self.critic(ops.stop_gradient(fake)) - self.critic(real),
            "slope": 10.0 * losses.gradient_penalty(self.critic, real),
            "fooled": ops.mean(self.critic(self.made)) - self.critic(fake),
        }

    def score(self, x, y, y_pred, sample_weight, training):
        pairwise = losses.pairwise_logistic(
            y, y_pred, query_ids=x["query_id"], sample_weight=sample_weight, epsilon=1e-2
        )
        return {"squared": ops.square(y - y_pred), "pairwise": pairwise}


def model(split):
    """Compiled, with optimizers by name."""
    made = Rows()
    optimizers = {
        "critic": keras.optimizers.Adam(0.01),
        "generator": keras.optimizers.SGD(0.1, momentum=0.9),
        "scorer": keras.optimizers.SGD(0.1),
    }
    made.compile(optimizers, metrics=["mae"], loss_weights={"pairwise": 2.0})
    return made
