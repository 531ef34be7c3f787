"""The names under which a model logs: those of its own, of terms and of metrics."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

from keras_trainsteps.step.total import Losses

SOURCES = ("compile", "hook", "added")
RESERVED = frozenset(["loss", "regularization"])  # what every model logs itself


def of_metric(metric: Any) -> str:
    """What Keras logs a metric under: a metric, its name, or a function."""
    name = getattr(metric, "name", None) or getattr(metric, "__name__", metric)
    return str(name)


def weighted(name: str) -> str:
    """What a term whose weight varies logs its part of the loss under."""
    return f"{name}_weighted"


def require_metrics(names: Set[str]) -> None:
    """Refuses metrics that have the name of what the model logs itself."""
    clashing = sorted(names & RESERVED)
    if clashing:
        raise ValueError(
            "A metric must not have the name of what the model logs itself. "
            f"Received: a metric named {clashing[0]!r}. Give it another `name`."
        )


def require_distinct(losses: Losses, taken: Set[str]) -> None:
    """Refuses terms and added metrics that would be logged under a name that is taken.

    Args:
        losses: The losses of a batch.
        taken: The names of what the model logs beside them.
    """
    of = {source: [t.name for t in losses.terms if t.source == source] for source in SOURCES}
    taken = taken | set(of["compile"])
    added = [*of["added"], *losses.metrics, *losses.also_logged]
    clashing = sorted({name for name in added if name in taken or added.count(name) > 1})
    if clashing:
        raise ValueError(
            "An added loss or metric needs a name of its own: neither 'loss', "
            "'regularization', the name of a metric nor that of a compiled loss. "
            f"Received: {clashing}. Add it under another `name`."
        )
    for name in of["hook"]:
        if not isinstance(name, str) or name in taken | set(added) or name.startswith("val_"):
            raise ValueError(
                "A term of `compute_losses` needs a name of its own: a string that does not "
                "start with 'val_' and is neither 'loss', 'regularization', the name of a "
                f"metric nor that of a compiled loss. Received: {name!r}. Rename the term."
            )


def require_parts_free(parts: Set[str], taken: Set[str]) -> None:
    """Refuses names under which parts of the loss are logged, where something else has them."""
    clashing = sorted(parts & taken)
    if clashing:
        raise ValueError(
            "The part of a term whose weight varies is logged under the term's name and "
            f"'_weighted'. Received: {clashing}, which something else is logged under. Rename it."
        )


def for_added(name: str | None, others: Set[str]) -> str:
    """The name of what `add_loss` or `add_metric` adds to `others`; one is made for `None`."""
    taken = RESERVED | others
    if name is None:
        return next(f"added_{k}" for k in range(len(taken)) if f"added_{k}" not in taken)
    if not isinstance(name, str) or not name or "/" in name or name.startswith("val_"):
        raise ValueError(
            "`name` must be a string without '/' that does not start with 'val_'. "
            f"Received: {name!r}."
        )
    if name in taken:
        raise ValueError(
            f"`name` must be one that nothing else is logged under. Received: {name!r}, "
            f"which is taken. Taken are {sorted(taken)}; `remove_term` frees one."
        )
    return name
