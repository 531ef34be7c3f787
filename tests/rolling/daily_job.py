"""A job for the command line's tests: `tests.rolling.daily_job:job`."""

import os

import keras
import numpy as np

from keras_trainsteps.rolling import ChangeThreshold, RollingUpdate, ValueThreshold, Window


def build():
    keras.utils.set_random_seed(1)
    inputs = keras.Input((2,), name="features")
    model = keras.Model(inputs, keras.layers.Dense(1, name="score")(inputs))
    model.compile(keras.optimizers.SGD(0.1), loss="mse", run_eagerly=True)
    return model


def fit(model, x, y):
    """Trains; the environment may make it go wrong."""
    kind = os.environ.get("DAILY_JOB", "")
    if kind == "worse":
        model.get_layer("score").kernel.assign([[-1.0], [0.0]])
    elif kind == "nan":
        model.fit(x, y * np.nan, verbose=0)
    else:
        model.fit(x, y, epochs=5, verbose=0)


def window(day=0, rows=60):
    generator = np.random.default_rng(day)
    x = generator.normal(size=(rows, 2)).astype("float32")
    y = (x[:, 0] + 0.1 * generator.normal(size=rows)).astype("float32")
    half = rows // 2
    return Window((x[:half], y[:half]), (x[half:], y[half:]), f"day {day}", f"day {day + 1}")


def update(registry, **options):
    return RollingUpdate(
        build,
        registry,
        fit=fit,
        query_ids=lambda x: np.arange(len(x)) // 3,
        thresholds=[
            ValueThreshold("squared_error", upper=50.0),
            ChangeThreshold("squared_error", direction="lower", max_loss=0.1),
        ],
        **options,
    )


def job(registry):
    rows = 0 if os.environ.get("DAILY_JOB") == "empty" else 60
    return update(registry), window(len(registry.versions()), rows)
