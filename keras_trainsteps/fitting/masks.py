"""Metrics beside losses: of the same rows, or tokens, or not."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any


def warn_of_unmasked(losses: Iterable[Any], metrics: Iterable[Any]) -> None:
    """Warns of metrics that count what the mask of the losses beside them leaves out."""
    losses = list(losses)
    for metric in metrics:
        kind = _masked_kind(metric)
        beside = [loss for loss in losses if kind is not None and _masked_kind(loss) == kind]
        if not beside or _mask_of(metric) or not all(map(_mask_of, beside)):
            continue
        given = ", ".join(f"{name}={value!r}" for name, value in _mask_of(beside[0]).items())
        warnings.warn(
            f"{metric!r} counts what {beside[0]!r} leaves out: the metric is of other "
            f"{kind} than the loss. Give it {given}, too; or, if that is meant, the name "
            "of an entry of `x` that is all ones.",
            stacklevel=3,
        )


def _masked_kind(reader: Any) -> str | None:
    """What the mask of a loss or metric leaves out."""
    if hasattr(reader, "pad_id"):
        return "tokens"
    return "rows" if hasattr(reader, "query_ids") else None


def _mask_of(reader: Any) -> dict[str, Any]:
    given = {name: getattr(reader, name, None) for name in ("mask", "pad_id")}
    return {name: value for name, value in given.items() if value is not None}
