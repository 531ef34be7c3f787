"""What `travel_modes` shows: a bar while it trains, a table, lists of travellers, a picture."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

Table = dict[str, dict[str, float]]
"""Of each way to rank, the value of each metric."""

NDCG, MRR, FIRST = METRICS = ("NDCG", "MRR", "chosen first")
ABOUT = """\
210 travellers from Sydney to Melbourne chose air, train, bus or car. A row is
one way of one traveller: its waiting time, costs and travel time. The loss
compares the four rows of a traveller: the query is the traveller.
{known} travellers train; {unseen} whom no model has seen test.
"""


class Bar(keras.callbacks.Callback):
    """One bar for a whole training; nothing where the output is no terminal."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        columns = (
            TextColumn(f"{self.text:<34}"),
            BarColumn(20),
            TextColumn("loss {task.fields[loss]}"),
        )
        self.bar = Progress(*columns, TimeElapsedColumn(), disable=not sys.stdout.isatty())
        self.task = self.bar.add_task("", total=self.params["epochs"], loss="")
        self.bar.start()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.bar.update(self.task, advance=1, loss=f"{(logs or {})['loss']:.3f}")

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        self.bar.stop()


def print_table(table: Table) -> None:
    """One line for each way to rank."""
    print(f"{'':<36}" + "".join(f"{name:>14}" for name in METRICS))
    for name, values in table.items():
        print(f"{name:<36}" + "".join(f"{values[metric]:14.3f}" for metric in METRICS))


def print_ranking(
    traveller: int, names: Sequence[str], scores: np.ndarray, chosen: np.ndarray
) -> None:
    """The ways of a traveller, best first, and where the one is that was taken."""
    order = np.argsort(-scores)
    ways = "  ".join(f"{names[way]} {scores[way]:+.1f}" for way in order)
    place = int(np.flatnonzero(chosen[order])[0]) + 1
    print(f"  traveller {traveller}: {ways:<42} took the {names[order[place - 1]]} ({place}.)")


def draw(table: Table, path: str) -> None:
    """Draws how often the way that was taken came first, for each way to rank."""
    from matplotlib.figure import Figure  # only where a picture is asked for

    figure = Figure(figsize=(8, 3.6), dpi=150, layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right", "left"]].set_visible(False)
    names = list(table)[::-1]
    ours = "whole travellers"
    for name in names:
        share = table[name][FIRST]
        colour = "#0072B2" if ours in name else "0.72"
        axes.barh(name.strip(), share, color=colour, height=0.7)
        axes.annotate(
            f"{share:.2f}",
            (share, name.strip()),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
        )
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(0, 1)
    axes.set_xlabel("share of travellers not seen whose own choice is ranked first")
    figure.savefig(path)
