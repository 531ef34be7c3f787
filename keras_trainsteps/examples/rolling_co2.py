"""Predict next week's CO2, updating the model every second year: rolling beats train-once.

The data are weekly means of the air at Mauna Loa, 1958 to 2001 (public domain, shipped by
statsmodels). The level drifts and the season shifts slowly, so that a model trained once
grows old. Each time the newest weeks are split: most train the candidate, the last ones
decide whether it replaces the champion.

    python -m keras_trainsteps.examples.rolling_co2
"""

from __future__ import annotations

import tempfile
from typing import Any, NamedTuple

import keras
import numpy as np
import numpy.typing as npt
import statsmodels.api as sm

from keras_trainsteps.rolling import (
    ChangeThreshold,
    ModelRegistry,
    RollingUpdate,
    ValueThreshold,
    Window,
    load_published,
)

LAGS = 4
FIRST, BETWEEN, TEST = 300, 104, 26
Array = npt.NDArray[np.float32]


class Weeks(NamedTuple):
    """The series as rows to learn from: four weeks before, and the week to predict."""

    lags: Array
    next_week: Array
    dates: Any


def load_weeks() -> Weeks:
    """The series, gaps interpolated, in units of ppm above 315."""
    series = sm.datasets.co2.load_pandas().data["co2"].interpolate()
    values = series.to_numpy("float32") - 315
    lags = np.stack([values[i : len(values) - LAGS + i] for i in range(LAGS)], axis=1)
    return Weeks(lags, values[LAGS:], series.index[LAGS:])


def build() -> keras.Model:
    """A linear model of the last four weeks; it predicts the change from the last one."""
    lags = keras.Input((LAGS,), name="lags")
    last = lags[:, -1:]
    changes = keras.layers.Dense(1, kernel_initializer="zeros", name="weights")(lags - last)
    level = keras.layers.Dense(1, kernel_initializer="zeros", name="level")(last / 50)
    model = keras.Model(lags, keras.layers.Reshape(())(last + changes + level))
    model.compile(keras.optimizers.Adam(0.02), loss="mse")
    return model


def fit(model: keras.Model, lags: Array, next_week: Array) -> None:
    """Full passes over a window of a few hundred weeks."""
    model.fit(lags, next_week, batch_size=len(lags), epochs=60, verbose=0)


def window(weeks: Weeks, end: int) -> Window:
    """The 300 weeks before `end`; the last 26 of them judge, the others train."""
    train, test = slice(end - FIRST, end - TEST), slice(end - TEST, end)
    return Window(
        (weeks.lags[train], weeks.next_week[train]),
        (weeks.lags[test], weeks.next_week[test]),
        str(weeks.dates[end - FIRST].date()),
        str(weeks.dates[end - 1].date()),
    )


def rolling(registry: ModelRegistry) -> RollingUpdate:
    """The update: a candidate must not be surely worse than the champion by 10 %."""
    return RollingUpdate(
        build,
        registry,
        fit=fit,
        query_ids=lambda lags: np.arange(len(lags)),  # each week stands alone
        thresholds=[
            ValueThreshold("squared_error", upper=2.0),
            ChangeThreshold("squared_error", direction="lower", max_loss=0.1, relative=True),
        ],
        retain=5,
    )


def main(updates: int = 12) -> dict[str, Any]:
    """Updates again and again and returns the errors on the weeks that followed each."""
    keras.utils.set_random_seed(1)
    weeks = load_weeks()
    registry = ModelRegistry(tempfile.mkdtemp(prefix="rolling_co2_"))
    update = rolling(registry)
    errors: dict[str, list[float]] = {"rolling": [], "train once": [], "persistence": []}
    first, promoted = None, 0
    ends = range(FIRST, len(weeks.next_week) - BETWEEN, BETWEEN)
    for end in list(ends)[:updates]:
        report = update.run(window(weeks, end))
        promoted += report.promoted
        champion = load_published(registry)
        first = first or load_published(registry)
        ahead = slice(end, end + BETWEEN)
        target, lags = weeks.next_week[ahead], weeks.lags[ahead]
        for name, predicted in (
            ("rolling", np.asarray(champion(lags))),
            ("train once", np.asarray(first(lags))),
            ("persistence", lags[:, -1]),
        ):
            errors[name].append(float(np.mean(np.abs(predicted - target))))
        keras.backend.clear_session()  # else every update's graphs stay in memory
    means = {name: float(np.mean(values)) for name, values in errors.items()}
    print(f"{promoted} of {len(errors['rolling'])} updates promoted")
    print("mean absolute error, ppm:", {k: round(v, 3) for k, v in means.items()})
    return {"errors": errors, "means": means, "promoted": promoted}


if __name__ == "__main__":
    main()
