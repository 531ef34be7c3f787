"""What training steps that are written by hand share: optimizers by name, means of logs.

It is less than people write, so that the steps below are short: compare their lengths with
those of the same models on `LossAwareModel`.
"""

import keras
import tensorflow as tf

LEARNING_RATE = 3e-3


class ByHand(keras.Model):
    """A `keras.Model` with an optimizer for each name, and a mean for each of `logged`."""

    logged = ()
    optimized = ()

    def compile(self, make_optimizer, **options):
        super().compile(**options)
        self.by_name = {name: make_optimizer() for name in self.optimized}
        self.means = [keras.metrics.Mean(name=name) for name in self.logged]

    @property
    def metrics(self):
        return self.means

    def update(self, name, tape, loss, weights):
        """One update by the optimizer of that name."""
        optimizer = self.by_name[name]
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))

    def log(self, rows, **losses):
        """Adds losses of a batch, or of a part of it, to the means of the epoch."""
        means = {mean.name: mean for mean in self.means}
        for name, loss in losses.items():
            means[name].update_state(loss, sample_weight=rows)
        return {mean.name: mean.result() for mean in self.means}


def rows_of(x):
    return tf.shape(x)[0]


def dense(inputs, *widths, name=None, activation="tanh"):
    """A small network of dense layers."""
    hidden = [keras.layers.Dense(width, activation) for width in widths[:-1]]
    last = keras.layers.Dense(widths[-1], dtype="float32")
    return keras.Sequential([keras.Input((inputs,)), *hidden, last], name=name)
