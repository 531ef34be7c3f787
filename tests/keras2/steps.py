"""Steps that were written for Keras 2, or by hand, on the toy problem.

Ten rows in batches of 4, 4 and 2, a kernel of ones, a learning rate of 0.
"""

import keras
import numpy as np
import tensorflow as tf

from keras_trainsteps import LossAwareModel
from tests.models import linear

RNG = np.random.default_rng(0)
X = RNG.normal(size=(10, 3)).astype("float32")
Y = RNG.normal(size=(10, 1)).astype("float32")
WEIGHT = RNG.uniform(1, 3, size=10).astype("float32")
ERROR = X.astype("float64").sum(axis=1) - Y[:, 0]
MSE, MAE, WEIGHTED = np.mean(ERROR**2), np.mean(np.abs(ERROR)), np.mean(WEIGHT * ERROR**2)


def fit(
    cls, loss="mse", *, rate=0.0, sample_weight=None, validation=False, dense=None, **options
):
    model = linear(cls, **(dense or {}))
    model.compile(
        keras.optimizers.SGD(rate),
        loss=loss,
        metrics=options.pop("metrics", ["mae"]),
        weighted_metrics=options.pop("weighted_metrics", None),
        run_eagerly=options.pop("run_eagerly", False),
    )
    history = model.fit(
        X,
        Y,
        batch_size=4,
        shuffle=False,
        sample_weight=sample_weight,
        validation_data=(X, Y) if validation else None,
        verbose=0,
        **options,
    ).history
    return model, history


def apply(model, tape, loss):
    trainable_vars = model.trainable_variables
    gradients = tape.gradient(loss, trainable_vars)
    model.optimizer.apply_gradients(zip(gradients, trainable_vars, strict=True))


class Keras2(LossAwareModel):
    """The body of Keras's guide up to version 2.11."""

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = self.compiled_loss(y, y_pred, regularization_losses=self.losses)
        apply(self, tape, loss)
        self.compiled_metrics.update_state(y, y_pred)
        return {m.name: m.result() for m in self.metrics}


class Own(LossAwareModel):
    """Trains on the absolute error, whatever is compiled; `finish` logs."""

    def train_step(self, data):
        x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = tf.reduce_mean(tf.abs(y - y_pred))
        apply(self, tape, loss)
        return self.finish(y, y_pred, loss)


def raw_loss(self, y, y_pred, loss):
    return {"loss": loss}


def loop_over_metrics(self, y, y_pred, loss):
    for metric in self.metrics:
        metric.update_state(y, y_pred)
    return {m.name: m.result() for m in self.metrics}


def minimize(self, y, y_pred, loss):
    self.optimizer.minimize(lambda: loss, self.trainable_variables)


def get_updates(self, y, y_pred, loss):
    self.optimizer.get_updates(loss, self.trainable_variables)


def scaled(self, y, y_pred, loss):
    self.optimizer.get_scaled_loss(loss)
