"""`plot_queries`: on which queries a model is good, in one picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from keras_trainsteps.metrics.query_table import QueryTable
from keras_trainsteps.plots.figures import pyplot

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = npt.NDArray[np.float64]
WIDTH, HEIGHT = 3.9, 3.2
ROWS = "rows"


def plot_queries(
    table: QueryTable,
    name: str,
    *,
    by: Mapping[str, npt.ArrayLike] | None = None,
    groups: int = 5,
    extremes: int = 8,
) -> Figure:
    """Draws a metric's mean by size of query, and the best and worst queries.

    A panel for the number of rows, and for each entry of `by`: queries are parted into groups of
    about equal number by it, and each group's mean is drawn with its interval of 95 %, by
    drawing queries anew. The last panel has the queries with the highest and the lowest values.
    Queries that the metric leaves out are left out.

    Needs matplotlib, from the extra `plot`. The figure is one of `matplotlib.pyplot`.

    Args:
        table: Of `metrics.per_query`.
        name: The name of a metric of the table.
        by: Other numbers to part the queries by, one per query in the order of `table.ids`, by
            what they are called: `{"relevant rows": counts}`. Default: none.
        groups: How many groups, at most. Default 5.
        extremes: How many of the best and of the worst queries, at most. Default 8.

    Returns:
        The figure. Its `axes` are titled by what they part by, and the last `best and worst`.

    Raises:
        ImportError: Without matplotlib.
        ValueError: For an unknown name, no query with a value, counts below 1, and entries of
            `by` of another length.

    Example:

    >>> from keras_trainsteps.metrics import MRR, per_query
    >>> labels, scores = [0, 1, 1, 0], [3.0, 2.0, 1.0, 0.0]
    >>> table = per_query(MRR(), labels, scores, query_ids=["b", "b", "a", "a"])
    >>> figure = plot_queries(table, "mrr")
    >>> [axes.get_title() for axes in figure.axes]
    ['rows', 'best and worst']
    """
    for option, count in (("groups", groups), ("extremes", extremes)):
        if count < 1:
            raise ValueError(f"`{option}` must be at least 1. Received: {count!r}.")
    counted = table.weights[table.known(name)] > 0
    if not np.any(counted):
        raise ValueError(f"{name!r} must have a value of some query. Received: none.")
    chosen = QueryTable(
        table.ids[counted],
        table.rows[counted],
        {name: table.values[name][counted]},
        {name: table.weights[name][counted]},
    )
    panels = {ROWS: chosen.rows.astype("float64")}
    for title, given in (by or {}).items():
        numbers = np.asarray(given, "float64")
        if numbers.shape != table.rows.shape:
            raise ValueError(
                f"`by` must hold one number per query, shape {table.rows.shape}. Received: "
                f"shape {numbers.shape} for {title!r}."
            )
        panels[title] = numbers[counted]

    figure = pyplot("plot_queries").figure(
        figsize=(WIDTH * (len(panels) + 1), HEIGHT), layout="constrained"
    )
    for place, (title, numbers) in enumerate(panels.items()):
        axes = figure.add_subplot(1, len(panels) + 1, place + 1)
        _draw_groups(axes, chosen, name, numbers, groups)
        axes.set_title(title)
        axes.set_xlabel(f"{title} of a query (queries)")
    _draw_extremes(
        figure.add_subplot(1, len(panels) + 1, len(panels) + 1), chosen, name, extremes
    )
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def groups_of(numbers: Array, groups: int) -> list[npt.NDArray[np.int_]]:
    """Places of about equally many numbers, ascending; equal numbers stay together."""
    bounds = np.unique(np.quantile(numbers, np.linspace(0, 1, groups + 1)[1:-1], method="lower"))
    group = np.searchsorted(bounds, numbers, side="left")
    return [np.flatnonzero(group == each) for each in np.unique(group)]


def _draw_groups(axes: Axes, table: QueryTable, name: str, numbers: Array, groups: int) -> None:
    labels = []
    for place, members in enumerate(groups_of(numbers, groups)):
        part = QueryTable(
            table.ids[members],
            table.rows[members],
            {name: table.values[name][members]},
            {name: table.weights[name][members]},
        )
        found = part.interval(name)
        axes.plot(place, found.mean, "o", color="C0")
        if len(members) > 1:
            axes.vlines(place, found.low, found.high, color="C0")
        low, high = numbers[members].min(), numbers[members].max()
        span = f"{low:g}" if low == high else f"{low:g} to {high:g}"
        labels.append(f"{span}\n({len(members)})")
    axes.axhline(table.interval(name).mean, color="black", linewidth=0.8, linestyle=":")
    axes.set_xticks(range(len(labels)), labels, fontsize="small")
    axes.set_ylabel(f"mean {name}")
    axes.margins(x=0.15)


def _draw_extremes(axes: Axes, table: QueryTable, name: str, extremes: int) -> None:
    order: Any = np.argsort(-table.values[name], kind="stable")
    if len(order) > 2 * extremes:
        order = np.concatenate([order[:extremes], order[-extremes:]])
    values = table.values[name][order]
    places = np.arange(len(order))
    axes.barh(places, values, color=np.where(places < len(order) / 2, "C0", "C3"))
    labels = [f"{table.ids[row]} ({table.rows[row]} rows)" for row in order]
    axes.set_yticks(places, labels, fontsize="small")
    axes.invert_yaxis()
    axes.set_title("best and worst")
    axes.set_xlabel(name)
