"""Models on two replicas: what each logs, or its refusal."""

import keras
import tensorflow as tf
from keras import ops

from keras_trainsteps import LossAwareModel, LossTerm
from keras_trainsteps.data import query_batches
from tests.toy import X, Y, fit, hooked, network, still

LARGE = 2**24 + 1  # no float32, and neither is the sum of two


class Threefold(LossAwareModel):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return 3.0 * super().compute_loss(x, y, y_pred, sample_weight, training)


class ByHand(LossAwareModel):
    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            loss = ops.mean(ops.square(y - self(x, training=True)))
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        self.metrics[0].update_state(loss)
        return {"loss": self.metrics[0].result()}


def large(x, y, y_pred):
    return {"large": LossTerm(tf.constant(float(LARGE), tf.float64), tf.constant(1.0))}


def evaluated(model, batch_size=5):
    """The logs of batches of five rows, of which one replica takes three."""
    return model.evaluate(X, Y, batch_size=batch_size, verbose=0, return_dict=True)


def batch_logs(model):
    logs = []
    record = keras.callbacks.LambdaCallback()
    record.on_test_batch_end = lambda batch, now=None, **kwargs: logs.append(
        {name: float(value) for name, value in (now or kwargs["logs"]).items()}
    )
    model.evaluate(X, Y, batch_size=5, verbose=0, callbacks=[record])
    return logs[-1]


def refused(act):
    try:
        act()
    except (ValueError, tf.errors.OpError) as error:
        return str(error)
    return "nothing"


def found(strategy):
    def model(cls=LossAwareModel, **options):
        with strategy.scope():
            return still(network(cls), **options)

    logs = {
        "overridden": evaluated(model(Threefold, loss="mse"), batch_size=10),
        "sum": evaluated(model(loss=keras.losses.MeanSquaredError(reduction="sum"))),
        "reduced": evaluated(model(loss=lambda y, y_pred: ops.mean(ops.square(y - y_pred)))),
        "components": evaluated(model(Threefold, loss=["mse", "mae"])),
        "large": batch_logs(model(hooked(large))),
    }
    several = model(loss="mse", steps_per_execution=2)
    accumulated = model(loss="mse", accumulate_steps=2)
    outside = still(network(LossAwareModel), loss="mse")
    with strategy.scope():
        made_outside = refused(lambda: fit(outside))
    by_hand = model(ByHand, loss="mse")
    filled = query_batches(
        {"features": X, "id": list(range(len(X)))}, Y, query_ids="id", batch_size=4, pad=True
    )
    return {
        **logs,
        "made outside": made_outside,
        "jit_compile": refused(lambda: evaluated(model(loss="mse", jit_compile=True))),
        "steps_per_execution": refused(lambda: evaluated(several)),
        "accumulate_steps": refused(lambda: fit(accumulated)),
        "filled": refused(lambda: model(loss="mse").evaluate(filled, verbose=0)),
        "by hand": refused(lambda: by_hand.fit(X, Y, batch_size=5, verbose=0)),
    }
