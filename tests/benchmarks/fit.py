"""A training step of `fit` with each loss: float32 and mixed_float16, `jit_compile` off and on.

    python -m tests.benchmarks.fit
    python -m tests.benchmarks.fit --lists 8 --length 8 --steps 4    # to see that it runs

The same network for all, on batches of lists of one length: by query id here, padded in
Keras-RS. `first` is the seconds of the first epoch, with tracing and compilation.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from keras_trainsteps import LossAwareModel, losses

from .timing import machine, print_table, shown, times_of

FEATURES = 136
EPOCHS = 5
HERE = {
    "here, pairwise logistic": lambda: losses.PairwiseLogistic("query_id"),
    "here, LambdaRank": lambda: losses.PairwiseLogistic(
        "query_id", lambda_weight=losses.lambda_weights.NDCG()
    ),
    "here, softmax": lambda: losses.Softmax("query_id"),
    "here, ListMLE": lambda: losses.ListMLE("query_id"),
}
KERAS_RS = {
    "Keras-RS, pairwise logistic": "PairwiseLogisticLoss",
    "Keras-RS, ListMLE": "ListMLELoss",
}


def scores_of(features: keras.KerasTensor) -> keras.KerasTensor:
    for _ in range(2):
        features = keras.layers.Dense(256, "relu")(features)
    scores = keras.layers.Dense(1, dtype="float32")(features)
    return keras.ops.squeeze(scores, -1)


def model_and_batch(name: str, lists: int, length: int):
    """A model that is not compiled, its loss, and `(x, y)`."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(lists, length, FEATURES)).astype("float32")
    y = rng.integers(0, 5, (lists, length)).astype("float32")
    if name in KERAS_RS:
        import keras_rs

        features = keras.Input((length, FEATURES))
        model = keras.Model(features, scores_of(features))
        return model, getattr(keras_rs.losses, KERAS_RS[name])(), (x, y)
    features = keras.Input((FEATURES,), name="features")
    model = LossAwareModel(features, scores_of(features))
    ids = np.repeat(np.arange(lists), length)
    flat = {"features": x.reshape(-1, FEATURES), "query_id": ids}
    return model, HERE[name](), (flat, y.reshape(-1))


def measured(name: str, jit_compile: bool, lists: int, length: int, steps: int):
    """Seconds of the first epoch, and milliseconds a step of the others."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    model, loss, batch = model_and_batch(name, lists, length)
    model.compile("adam", loss=loss, jit_compile=jit_compile)
    x, y = tf.nest.map_structure(tf.constant, batch)

    def own_ids(number):  # the same ids in every batch would be queries cut into batches
        if not isinstance(x, dict):
            return x, y
        return {**x, "query_id": x["query_id"] + number * lists}, y

    data = tf.data.Dataset.range(steps).map(own_ids)
    seconds = []
    for _ in range(1 + EPOCHS):
        begin = time.perf_counter()
        model.fit(data, shuffle=False, verbose=0)
        seconds.append(time.perf_counter() - begin)
    return shown(seconds[0]), times_of(1e3 * np.array(seconds[1:]) / steps)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lists", type=int, default=256)
    parser.add_argument("--length", type=int, default=32)
    parser.add_argument("--steps", type=int, default=50)
    options = parser.parse_args()
    names = [*HERE, *(KERAS_RS if importlib.util.find_spec("keras_rs") else ())]
    print(machine())
    print(
        f"\n{options.lists} lists of {options.length} rows of {FEATURES} features: seconds of "
        "the first epoch, milliseconds a step of the others\n"
    )

    def rows():
        for policy in ("float32", "mixed_float16"):
            keras.config.set_dtype_policy(policy)
            for name in names:
                cells = [
                    cell
                    for jit_compile in (False, True)
                    for cell in measured(name, jit_compile, *sizes)
                ]
                yield [policy, name, *cells]

    sizes = (options.lists, options.length, options.steps)
    header = ["policy", "loss", "first", "milliseconds", "first, XLA", "milliseconds, XLA"]
    print_table(header, rows())


if __name__ == "__main__":
    main()
