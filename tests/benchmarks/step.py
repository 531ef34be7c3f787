"""A step of `LossAwareModel` against one of stock Keras: the same model, interleaved.

    python -m tests.benchmarks.step

Prints microseconds a step over rounds, and the ratio within a round. Fits in one process are
interleaved, in changing order. The last rows are a generative adversarial network, by hand and as
two objectives.
"""

from __future__ import annotations

import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from keras_trainsteps import LossAwareModel
from tests.parity.objectives.gans import DCGAN, DCGANByHand
from tests.parity.objectives.gans import WIDTH as GAN_WIDTH

from .timing import machine, print_table, times_of

STEPS, BATCH, WIDTH, ROUNDS = 640, 32, 16, 21


class SquaredError(LossAwareModel):
    """The same loss as `"mse"`, by the hook."""

    def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
        return {"squared_error": keras.ops.mean(keras.ops.square(y - y_pred), axis=-1)}


def build(cls, loss, steps_per_execution):
    inputs = keras.Input((WIDTH,))
    hidden = keras.layers.Dense(32, "relu")(inputs)
    model = cls(inputs, keras.layers.Dense(1)(hidden))
    model.compile("adam", loss=loss, steps_per_execution=steps_per_execution)
    return model


def seconds(model, data):
    begin = time.perf_counter()
    model.fit(data, verbose=0, shuffle=False)
    return time.perf_counter() - begin


def gan(cls, steps_per_execution):
    model = cls()
    optimizer = keras.optimizers.Adam
    model.compile(
        optimizer if cls is DCGANByHand else optimizer(), steps_per_execution=steps_per_execution
    )
    return model


def compared(kinds, base, data, steps_per_execution):
    """A row for each model: its times, and their ratios to those of one of them."""
    for model in kinds.values():
        seconds(model, data)  # traced and warm
    times = {name: [] for name in kinds}
    for number in range(ROUNDS):
        names = list(kinds)
        first = number % len(names)
        for name in names[first:] + names[:first]:
            times[name].append(seconds(kinds[name], data) / STEPS * 1e6)
    for name, found in times.items():
        ratios = [own / other for own, other in zip(found, times[base], strict=True)]
        yield [steps_per_execution, name, times_of(found), times_of(ratios)]


def rows(data, images):
    for steps_per_execution in (1, 32):
        kinds = {
            "stock": build(keras.Model, "mse", steps_per_execution),
            "hook": build(SquaredError, None, steps_per_execution),
            "compiled": build(LossAwareModel, "mse", steps_per_execution),
        }
        yield from compared(kinds, "stock", data, steps_per_execution)
        kinds = {
            "gan by hand": gan(DCGANByHand, steps_per_execution),
            "gan": gan(DCGAN, steps_per_execution),
        }
        yield from compared(kinds, "gan by hand", images, steps_per_execution)


def main():
    rng = np.random.default_rng(0)
    number = STEPS * BATCH
    arrays = (
        rng.normal(size=(number, WIDTH)).astype("float32"),
        rng.normal(size=(number, 1)).astype("float32"),
    )
    data = tf.data.Dataset.from_tensor_slices(arrays).batch(BATCH).cache()
    images = tf.data.Dataset.from_tensor_slices(arrays[0][:, :GAN_WIDTH]).batch(BATCH).cache()
    print(machine())
    print(
        f"\n{STEPS} steps of {BATCH} rows, {ROUNDS} rounds: microseconds a step, and the ratio\n"
    )
    header = ["`steps_per_execution`", "model", "microseconds", "of stock's, or of that by hand"]
    print_table(header, rows(data, images))


if __name__ == "__main__":
    main()
