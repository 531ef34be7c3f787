"""What `accumulate_steps` of `compile` cannot be right with, refused; groups that end early."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import tensorflow as tf

from keras_trainsteps import compat
from keras_trainsteps.step.accumulation import Accumulation
from keras_trainsteps.step.objective import Objective
from keras_trainsteps.step.optimizers import Optimizers


def require_accumulates(steps: Any, optimizer: Any, objectives: Mapping[str, Objective]) -> None:
    """Refuses a number of steps that is none, and what must be updated in each step.

    Args:
        steps: The `accumulate_steps` of `compile`.
        optimizer: Its optimizer, or its name.
        objectives: Those of the model, if it names them.
    """
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise ValueError(
            f"`accumulate_steps` must be an integer of at least 1. Received: {steps!r}."
        )
    if steps == 1:
        return
    for each in _each(keras.optimizers.get(optimizer)):
        if getattr(each, "gradient_accumulation_steps", None):
            raise ValueError(
                "`accumulate_steps` takes the place of `gradient_accumulation_steps` of an "
                f"optimizer, which averages means. Received: {steps} beside "
                f"{each.gradient_accumulation_steps} of {each.name!r}. Make the optimizer "
                "without it."
            )
    if len(objectives) > 1:
        raise ValueError(
            "`accumulate_steps` is for models of one objective: of several, each sees the "
            "weights that those before it left, which a group of steps changes at its end "
            f"alone. Received: {steps} for the objectives {list(objectives)}. Compile with "
            "`accumulate_steps=1`; losses that can share a forward pass may be one objective "
            "with a dict as `trains`."
        )
    for name, objective in objectives.items():
        said = {
            "`repeat`": objective.repeat > 1,
            "`every` or `when`": objective.is_conditional,
            "a function of `gradients` that computes them again": objective.takes_again,
        }
        for what in (what for what, is_there in said.items() if is_there):
            raise ValueError(
                "`accumulate_steps` asks for one update of an objective for a group of steps. "
                f"Received: {steps} for objective {name!r} with {what}, which belongs to one "
                "step. Leave it out, or compile with `accumulate_steps=1`."
            )


def require_no_replicas(model: keras.Model, accumulation: Accumulation | None) -> None:
    """Refuses to accumulate under a strategy of replicas, of which there may be but one."""
    strategy = compat.strategy_of(model)
    alone = strategy is None or isinstance(strategy, tf.distribute.OneDeviceStrategy)
    if accumulation is not None and not alone:
        raise ValueError(
            "`accumulate_steps` must be 1 on replicas, which cannot exchange gradients within a "
            f"branch. Received: {accumulation.steps} under a {type(strategy).__name__} of "
            f"{model.distribute_strategy.num_replicas_in_sync}. Compile with "
            "`accumulate_steps=1` and larger batches."
        )


def warn_of_dropped(accumulation: Accumulation | None, by: str) -> None:
    """Warns of gradients that are dropped by what begins a new group of steps."""
    done = 0 if accumulation is None else accumulation.steps_done
    if accumulation is not None and done:
        warnings.warn(
            f"{by} begins a new group of steps, and drops the gradients of an open one. "
            f"Received: {done} of {accumulation.steps} steps, of `train_on_batch` or of a `fit` "
            "that did not end. To keep them, call `model.apply_accumulated_gradients()` before.",
            stacklevel=3,
        )


def _each(optimizer: Any) -> Iterator[Any]:
    """An optimizer, and those inside it."""
    yield optimizer
    inside = optimizer.distinct() if isinstance(optimizer, Optimizers) else []
    inside += getattr(optimizer, "optimizers", [])  # of a `MultiOptimizer`
    inside += filter(None, [getattr(optimizer, "inner_optimizer", None)])
    for inner in inside:
        yield from _each(inner)
