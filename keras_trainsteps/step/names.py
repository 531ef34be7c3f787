"""The names under which a model logs: those of its own, of terms and of metrics."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from typing import Any

from keras_trainsteps.step.total import Losses

SOURCES = ("compile", "hook", "added")
RESERVED = frozenset(["loss", "regularization"])  # what every model logs itself


def of_metric(metric: Any) -> str:
    """What Keras logs a metric under: a metric, its name, or a function."""
    name = getattr(metric, "name", None) or getattr(metric, "__name__", metric)
    return str(name)


def of_parts(parts: Iterable[str]) -> set[str]:
    """What objectives log themselves."""
    return {name for part in parts for name in (part, regularization_of(part))}


def weighted(name: str) -> str:
    """What a term whose weight varies logs its part of the loss under."""
    return f"{name}_weighted"


def regularization_of(part: str) -> str:
    """What the losses that the networks of a part add are logged under."""
    return "regularization" if part == "loss" else f"{part}_regularization"


def require_parts_named(parts: Sequence[str]) -> None:
    """Refuses names of objectives, or of the networks of one, that cannot be logged.

    Raises:
        ValueError: For such a name, or two alike.
    """
    for name in parts:
        is_text = isinstance(name, str) and name and "/" not in name
        reserved = RESERVED - {"loss"} if len(parts) == 1 else RESERVED
        if not is_text or name in reserved or name.startswith("val_"):
            raise ValueError(
                "An objective needs a name that can be logged: a string without '/' that does "
                "not start with 'val_' and is not 'regularization'; nor 'loss', where there "
                f"are several. Received: {name!r}. Rename it."
            )
    if len(set(parts)) < len(parts):
        raise ValueError(
            "Objectives, and the networks in a dict of `trains`, need names of their own: each "
            f"has an optimizer and a log. Received: {list(parts)}. Rename one."
        )


def require_metrics(names: Set[str], parts: Iterable[str] = ()) -> None:
    """Refuses metrics that have the name of what the model logs itself."""
    clashing = sorted(names & (RESERVED | of_parts(parts)))
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
                "A term of a hook needs a name of its own: a string that does not "
                "start with 'val_' and is neither 'loss', 'regularization', the name of a "
                "metric, nor that of a compiled loss, of an objective or of one of its terms. "
                f"Received: {name!r}. Rename the term."
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
