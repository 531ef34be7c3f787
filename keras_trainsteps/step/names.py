"""The names under which a model logs: those of its own, of terms and of metrics."""

from __future__ import annotations

from typing import Any

RESERVED = frozenset(["loss", "regularization"])  # what every model logs itself


def of_metric(metric: Any) -> str:
    """What Keras logs a metric under: a metric, its name, or a function."""
    name = getattr(metric, "name", None) or getattr(metric, "__name__", metric)
    return str(name)


def require_metrics(names: set[str]) -> None:
    """Refuses metrics that have the name of what the model logs itself."""
    clashing = sorted(names & RESERVED)
    if clashing:
        raise ValueError(
            "A metric must not have the name of what the model logs itself. "
            f"Received: a metric named {clashing[0]!r}. Give it another `name`."
        )


def require_free(name: Any, taken: set[str]) -> None:
    """Refuses a name of a term of the hook that something else is logged under."""
    if not isinstance(name, str) or name in taken or name.startswith("val_"):
        raise ValueError(
            "A term of `compute_losses` needs a name of its own: a string that does not start "
            "with 'val_' and is neither 'loss', 'regularization', the name of a metric nor "
            f"that of a compiled loss. Received: {name!r}. Rename the term."
        )


def added(name: str | None, others: set[str]) -> str:
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
