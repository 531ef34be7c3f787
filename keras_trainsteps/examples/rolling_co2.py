"""Predict CO2 a year ahead, updating the model every second year: rolling beats train-once.

The data are weekly means of the air at Mauna Loa, 1958 to 2001 (public domain, shipped by
statsmodels). Each year adds more than the year before, so that a model trained once falls
behind. At each update all that is known is the past: the older weeks of a window train the
candidate, the newer ones decide whether it replaces the champion, and the champion then
predicts the two years that follow.

    python -m keras_trainsteps.examples.rolling_co2 --plot rolling_co2.png
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import statsmodels.api as sm
import tensorflow as tf

from keras_trainsteps.examples.rolling_co2_outcome import Array, Outcome
from keras_trainsteps.rolling import (
    ChangeThreshold,
    ModelRegistry,
    RollingUpdate,
    ValueThreshold,
    Window,
    load_published,
)

LAGS, AHEAD = 4, 52  # weeks seen, and weeks from the last of them to the one predicted
TRAIN, TEST, BETWEEN = 300, 52, 104  # weeks of a window, and from update to update
QUARTER = 13  # weeks; within a quarter errors are alike, so that one quarter is one query


class Weeks(NamedTuple):
    """The series as rows to learn from, one for each week that is predicted from."""

    lags: Array
    year_ahead: Array
    dates: Any


def load_weeks() -> Weeks:
    """The series, gaps interpolated, in units of ppm above 315."""
    series = sm.datasets.co2.load_pandas().data["co2"].interpolate()
    values = series.to_numpy("float32") - 315
    last = np.arange(AHEAD, len(values) - AHEAD)
    lags = np.stack([values[last - lag] for lag in reversed(range(LAGS))], axis=1)
    return Weeks(lags, values[last + AHEAD], series.index[last])


def build() -> keras.Model:
    """A linear model of the last four weeks; it predicts the change over the year to come."""
    lags = keras.Input((LAGS,), name="lags")
    last = lags[:, -1:]
    change = keras.layers.Dense(1, kernel_initializer="zeros", name="change")(lags - last)
    model = keras.Model(lags, keras.layers.Reshape(())(last + change))
    model.compile(keras.optimizers.Adam(0.05), loss="mse")
    return model


def fit(model: keras.Model, lags: Array, year_ahead: Array) -> None:
    """A hundred steps on all weeks of a window."""
    model.fit(
        tf.data.Dataset.from_tensors((lags, year_ahead)).repeat(100), shuffle=False, verbose=0
    )


def window(weeks: Weeks, now: int) -> Window:
    """What is known in week `now`: the newest year judges, 300 weeks before it train."""
    known = now - AHEAD  # the year ahead of later weeks is not over
    train, test = slice(known - TEST - TRAIN, known - TEST), slice(known - TEST, known)
    return Window(
        (weeks.lags[train], weeks.year_ahead[train]),
        (weeks.lags[test], weeks.year_ahead[test]),
        str(weeks.dates[train][0].date()),
        str(weeks.dates[test][-1].date()),
    )


def absolute_error(labels: Array, scores: Array) -> float:
    """Mean absolute error of a quarter."""
    return float(np.mean(np.abs(labels - scores)))


def rolling(registry: ModelRegistry) -> RollingUpdate:
    """The update: a candidate must not be worse than the champion by half a ppm, surely."""
    return RollingUpdate(
        build,
        registry,
        fit=fit,
        query_ids=lambda lags: np.arange(len(lags)) // QUARTER,
        metrics={"absolute_error": absolute_error},
        thresholds=[
            ValueThreshold("absolute_error", upper=2.0),
            ChangeThreshold("absolute_error", direction="lower", max_loss=0.2),
        ],
        retain=5,
    )


def run(updates: int | None = None) -> Outcome:
    """Updates again and again; returns the errors on the weeks that followed each."""
    keras.utils.set_random_seed(1)
    weeks = load_weeks()
    registry = ModelRegistry(tempfile.mkdtemp(prefix="rolling_co2_"))
    update = rolling(registry)
    found = Outcome([], {"rolling": [], "train once": [], "no growth": []}, [])
    first = None
    starts = range(TRAIN + TEST + AHEAD, len(weeks.year_ahead) - BETWEEN, BETWEEN)
    for now in list(starts)[:updates]:
        found.promoted.append(update.run(window(weeks, now)).promoted)
        champion = load_published(registry)
        first = first or champion
        ahead = slice(now, now + BETWEEN)
        lags, observed = weeks.lags[ahead], weeks.year_ahead[ahead]
        found.dates.append(weeks.dates[ahead])
        found.errors["rolling"].append(np.asarray(champion(lags)) - observed)
        found.errors["train once"].append(np.asarray(first(lags)) - observed)
        found.errors["no growth"].append(lags[:, -1] - observed)
        keras.backend.clear_session()  # else every update's graphs stay in memory
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the updates, prints the errors and, with `--plot`, draws them."""
    parser = argparse.ArgumentParser(description="Rolling updates on the CO2 of Mauna Loa.")
    parser.add_argument("--plot", metavar="PNG", help="where to draw the errors")
    options = parser.parse_args(arguments)
    found = run()
    print(f"{sum(found.promoted)} of {len(found.promoted)} updates promoted")
    print("mean absolute error a year ahead, on weeks that no model has seen:")
    for name in found.errors:
        print(f"  {name:<11} {found.mean_error(name):.2f} ppm")
    if options.plot:
        from keras_trainsteps.examples.rolling_co2_plot import draw

        draw(found, options.plot)
        print(f"drawn: {options.plot}")


if __name__ == "__main__":
    main()
