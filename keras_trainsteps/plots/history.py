"""`plot_history`: what a training did, in one picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_trainsteps.plots.curves import Array, Curve, Curves, read
from keras_trainsteps.plots.figures import pyplot

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS, WIDTH, HEIGHT = 3, 3.9, 2.7
MARKED = 30  # epochs up to which each point is marked
SHARES = "share of loss"


def plot_history(
    history: keras.callbacks.History | Mapping[str, Any],
    *,
    weights: Mapping[str, float] | None = None,
    validation_freq: int | Sequence[int] = 1,
) -> Figure:
    """Draws the loss, each of its terms, their shares of it, and the metrics, by epoch.

    One panel each: training as a solid line, validation dashed. The shares are

    ```
    share[k] = part[k] / sum_k |part[k]|,  part[k] = weight[k] * term[k]
    ```

    stacked, negative ones below zero; `regularization` weighs 1. Where the weight of a term
    varies, its part is taken from the history, as `<term>_weighted`. What `fit` of a
    `LossAwareModel` returns knows the terms and the other weights. Where terms are not known,
    as in a dict or the history of another model, there are no shares, unless `weights` names
    the terms.

    Needs matplotlib, from the extra `plot`. The figure is one of `matplotlib.pyplot`: a
    notebook shows it at the end of the cell. End the line with `;`, or the notebook
    shows the returned figure once more.

    Args:
        history: What `fit` returned, its `history` dict, or the columns of a `CSVLogger`
            file as a dict of lists.
        weights: Weight of each term, a number, by the name of the term, or of the output
            as in `compile`. Default: those that the model was compiled with.
        validation_freq: As given to `fit`, where not every epoch was validated.

    Returns:
        The figure. Each of its `axes` has a title: `loss`, the name of a term, `share of
        loss`, the name of a metric.

    Raises:
        ImportError: Without matplotlib.
        TypeError: For a `history` that is neither.
        ValueError: For a history without epochs or with columns of different lengths,
            weights of what is not there, or of terms that do not add up to `loss`.

    Example:

    >>> logs = {"loss": [3.0, 2.0], "fit": [2.0, 1.0], "prior": [0.5, 0.5], "val_fit": [2, 2]}
    >>> figure = plot_history(logs, weights={"fit": 1.0, "prior": 2.0})
    >>> [axes.get_title() for axes in figure.axes]
    ['loss', 'fit', 'prior (weight 2)', 'share of loss']
    """
    plt = pyplot("plot_history")
    curves = read(history, weights, validation_freq)
    shares = curves.shares() if len(curves.parts) > 1 else {}
    panels = [name for name in curves.weights if not _is_the_loss(curves, name)]
    titles = ["loss", *panels, *([SHARES] if shares else []), *curves.metrics]

    columns = min(COLUMNS, len(titles))
    rows = math.ceil(len(titles) / columns)
    figure = plt.figure(figsize=(WIDTH * columns, HEIGHT * rows), layout="constrained")
    colors = {name: f"C{number % 10}" for number, name in enumerate(shares or curves.weights)}
    for number, title in enumerate(titles):
        axes = figure.add_subplot(rows, columns, number + 1)
        if title == SHARES:
            _draw_shares(axes, curves.training["loss"].epochs, shares, colors)
        else:
            _draw_curve(axes, curves, title, colors.get(title, "black"))
        axes.set_xlabel("epoch")
        axes.spines[["top", "right"]].set_visible(False)
        axes.xaxis.get_major_locator().set_params(integer=True)
    if curves.validation:
        figure.axes[0].legend(frameon=False)
    return figure


def _is_the_loss(curves: Curves, name: str) -> bool:
    """Whether a term is all of the loss, which one panel then shows."""
    return list(curves.parts) == [name] and curves.weights[name] == 1.0


def _title(curves: Curves, name: str) -> str:
    alone = next(iter(curves.parts), "")
    if name == "loss" and _is_the_loss(curves, alone):
        return f"loss = {alone}"
    weight = curves.weights.get(name, 1.0)
    if weight is None:
        return f"{name} (weight varies)"
    return name if weight == 1.0 else f"{name} (weight {weight:.3g})"


def _draw_curve(axes: Axes, curves: Curves, name: str, color: str) -> None:
    axes.set_title(_title(curves, name))
    axes.set_label(name)
    for label, of, style in (
        ("training", curves.training, "-"),
        ("validation", curves.validation, "--"),
    ):
        if name in of:
            curve = of[name]
            marker = "." if len(curve.epochs) <= MARKED else ""
            alpha = 1.0 if label == "training" else 0.65
            axes.plot(*curve, style, color=color, marker=marker, alpha=alpha, label=label)
    _mark_not_finite(axes, curves.training.get(name))


def _mark_not_finite(axes: Axes, curve: Curve | None) -> None:
    """Says so where a line has nothing to show."""
    if curve is None or np.all(np.isfinite(curve.values)):
        return
    broken = curve.epochs[~np.isfinite(curve.values)]
    text = f"not finite in {len(broken)} epochs, first in epoch {broken[0]:.0f}"
    axes.text(0.5, 0.05, text, transform=axes.transAxes, ha="center", color="red")


def _draw_shares(
    axes: Axes, epochs: Array, shares: Mapping[str, Array], colors: Mapping[str, str]
) -> None:
    """One step per epoch for each part; positive parts upwards, negative ones downwards."""
    edges = np.append(epochs - 0.5, epochs[-1] + 0.5)
    up, down = np.zeros_like(epochs), np.zeros_like(epochs)
    for name, share in shares.items():
        base = np.where(share < 0, down, up)
        axes.stairs(base + share, edges, baseline=base, fill=True, color=colors[name], label=name)
        up, down = up + np.maximum(share, 0), down + np.minimum(share, 0)
    axes.set_title(SHARES)
    axes.set_label(SHARES)
    axes.set_xlim(edges[0], edges[-1])
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    if any(np.any(share < 0) for share in shares.values()):
        axes.axhline(0, color="black", linewidth=0.8)
    axes.legend(fontsize="small", loc="best")
