"""Checks of a batch that need no loss, and what a failed one says."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import keras
import tensorflow as tf

from keras_trainsteps import compat, replicas
from keras_trainsteps.step import side_inputs
from keras_trainsteps.step.batch import Batch
from keras_trainsteps.step.terms import FAILED, as_loss


def of_batch(batch: Batch, names: Iterable[str], *, weights: bool) -> list[tf.Operation]:
    """Refuses a batch without its side inputs, and what XLA cannot take.

    Args:
        batch: The batch.
        names: The side inputs.
        weights: Whether its third entry is a weight: a step written by hand may take it for
            anything.

    Returns:
        The checks of values, which only the running step can see. XLA leaves them out.
    """
    if names:
        side_inputs.require(batch.x, names)
    _require_xla_inputs(batch.x)
    return value_checks(batch.sample_weight) if weights else []


def value_checks(sample_weight: Any) -> list[tf.Operation]:
    """What refuses, while it runs, weights that are NaN or infinite.

    Negative ones are right where losses are divided by a number of values, as those of
    policy gradients; losses that divide by weights refuse them.
    """
    checks = [
        tf.debugging.Assert(
            tf.reduce_all(tf.math.is_finite(as_loss(weight))),
            [
                f"{FAILED}`sample_weight` must be finite numbers. Received: NaN or infinite "
                "weights. To leave a row out, give it a weight of 0."
            ],
        )
        for weight in keras.tree.flatten(sample_weight)
        if weight is not None
    ]
    return [check for check in checks if check is not None]


def as_value_error(error: tf.errors.InvalidArgumentError) -> ValueError | None:
    """The `ValueError` that a failed check of ours stands for."""
    found = re.search(rf"{FAILED}(.*?)('|\]|\n|$)", error.message or "")
    return ValueError(found.group(1).strip()) if found else None


def _require_xla_inputs(x: Any) -> None:
    """Refuses strings under XLA, which has none."""
    if not isinstance(x, Mapping):
        return
    strings = [name for name, value in x.items() if getattr(value, "dtype", None) == tf.string]
    if strings and compat.in_xla():
        raise ValueError(
            f"Entry {strings[0]!r} of `x` must not be strings under XLA, which has none. "
            "Received: strings with `jit_compile=True`. Turn them into integers before "
            "`fit`, or compile with `jit_compile=False`."
        )


def require_one_target(y: Any, y_pred: Any) -> None:
    """Refuses a dict of several targets for metrics of one output, where Keras takes any."""
    if isinstance(y, Mapping) and len(y) > 1 and not keras.tree.is_nested(y_pred):
        raise ValueError(
            "Compiled metrics need one target for the one output of the model. Received: "
            f"`y` with entries {sorted(map(str, y))}, of which Keras would take the first. "
            "Pass the target alone and the others as entries of `x`."
        )


def require_listed(
    metrics: Iterable[keras.metrics.Metric], metric: keras.metrics.Metric | None
) -> None:
    """Refuses `metrics` of a subclass without one that is updated: it is never reset."""
    metrics = list(metrics)
    if metric is not None and all(metric is not listed for listed in metrics):
        raise ValueError(
            "`metrics` must hold those of the model: what is not listed is not reset, and "
            f"logged as 0 or over all epochs. Received: {[m.name for m in metrics]}, "
            f"without {metric.name!r}. Return `[*super().metrics, ...]`, or delete it: "
            "metrics that are attributes are found."
        )


def require_same_on_workers(
    strategy: tf.distribute.Strategy,
    metrics: Iterable[keras.metrics.Metric],
    batch: Any,
    num_batches: int | None,
) -> None:
    """Refuses workers whose metrics, and with them terms, or batches differ."""
    parts = {
        "terms and metrics": sorted(metric.name for metric in metrics),
        "batches": keras.tree.map_structure(compat.kind_of, batch),
        "number of batches": num_batches,
    }
    replicas.require_same_on_workers(strategy, {name: str(part) for name, part in parts.items()})
