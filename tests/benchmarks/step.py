"""A step of `LossAwareModel` against one of stock Keras: the same model, interleaved.

    python -m tests.benchmarks.step

Prints microseconds a step over rounds, and the ratio within a round. Fits in one process are
interleaved, in changing order.
"""

from __future__ import annotations

import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from keras_trainsteps import LossAwareModel

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


def main():
    rng = np.random.default_rng(0)
    rows = STEPS * BATCH
    arrays = (
        rng.normal(size=(rows, WIDTH)).astype("float32"),
        rng.normal(size=(rows, 1)).astype("float32"),
    )
    data = tf.data.Dataset.from_tensor_slices(arrays).batch(BATCH).cache()
    print(machine())
    print(
        f"\n{STEPS} steps of {BATCH} rows, {ROUNDS} rounds: microseconds a step, and the ratio\n"
    )

    def rows(steps_per_execution):
        kinds = {
            "stock": build(keras.Model, "mse", steps_per_execution),
            "hook": build(SquaredError, None, steps_per_execution),
            "compiled": build(LossAwareModel, "mse", steps_per_execution),
        }
        for model in kinds.values():
            seconds(model, data)  # traced and warm
        times = {name: [] for name in kinds}
        for number in range(ROUNDS):
            names = list(kinds)
            for name in names[number % 3 :] + names[: number % 3]:
                times[name].append(seconds(kinds[name], data) / STEPS * 1e6)
        for name, found in times.items():
            ratios = [own / stock for own, stock in zip(found, times["stock"], strict=True)]
            yield [steps_per_execution, name, times_of(found), times_of(ratios)]

    every = (row for steps_per_execution in (1, 32) for row in rows(steps_per_execution))
    print_table(["`steps_per_execution`", "model", "microseconds", "of stock's"], every)


if __name__ == "__main__":
    main()
