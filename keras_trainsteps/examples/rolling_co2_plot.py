"""The picture of `rolling_co2`: what updating is worth, over forty years."""

from __future__ import annotations

import matplotlib.dates as mdates
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from keras_trainsteps.examples.rolling_co2_outcome import Outcome

COLOURS = {"train once": "#D55E00", "rolling": "#0072B2"}  # told apart by every eye
LABELS = {"rolling": "updated every second year", "train once": "trained once"}
PALE = "0.75"
QUARTER = 13  # weeks


def draw(outcome: Outcome, path: str) -> None:
    """Draws the errors of both models, week by week and as means after each update."""
    figure = Figure(figsize=(9, 6.2), dpi=150, layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[1.35, 1])
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
        for dates, promoted in zip(outcome.dates, outcome.promoted, strict=True):
            style = "solid" if promoted else "dotted"
            axes.axvline(dates[0], color=PALE, linestyle=style, linewidth=0.9, zorder=0)
    _draw_weeks(above, outcome)
    _draw_means(below, outcome)
    below.xaxis.set_major_locator(mdates.YearLocator(5))
    below.xaxis.set_major_formatter(mdates.DateFormatter("%Y"))
    below.set_xlabel(
        "week that is predicted from (lines: updates; dotted: the gate kept the old model)"
    )
    better = 1 - outcome.mean_error("rolling") / outcome.mean_error("train once")
    figure.suptitle(
        f"CO$_2$ a year ahead, Mauna Loa: updating takes {better:.0%} off the error",
        x=0.01,
        ha="left",
        fontweight="bold",
    )
    figure.savefig(path)


def _draw_weeks(axes: Axes, outcome: Outcome) -> None:
    """Every week, and means of quarters: a model that falls behind predicts too little."""
    axes.axhline(0, color="0.4", linewidth=0.8)
    dates = np.concatenate([np.asarray(part) for part in outcome.dates])
    quarter = np.ones(QUARTER) / QUARTER
    middle = slice(QUARTER // 2, len(dates) - QUARTER // 2)
    for name, colour in COLOURS.items():
        errors = np.concatenate(outcome.errors[name])
        axes.plot(dates, errors, color=colour, linewidth=0.5, alpha=0.3)
        means = np.convolve(errors, quarter, "valid")
        axes.plot(dates[middle], means, color=colour, linewidth=1.8, label=LABELS[name])
    axes.set_ylabel("predicted less observed, ppm")
    axes.legend(loc="lower left", frameon=False, ncols=2)


def _draw_means(axes: Axes, outcome: Outcome) -> None:
    """The weeks after each update: the mean absolute error, and over all of them."""
    for name, colour in COLOURS.items():
        means = outcome.mean_errors(name)
        ends = [dates[0] for dates in outcome.dates] + [outcome.dates[-1][-1]]
        steps = mdates.date2num(ends)
        axes.stairs(means, steps, baseline=None, color=colour, linewidth=1.8)
        axes.annotate(
            f"mean\n{outcome.mean_error(name):.2f}",
            (ends[-1], outcome.mean_error(name)),
            xytext=(6, 0),
            textcoords="offset points",
            color=colour,
            va="center",
        )
    axes.set_ylim(bottom=0)
    axes.set_ylabel("mean absolute error, ppm")
