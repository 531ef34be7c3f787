"""What a model with several objectives is given: refused where it belongs to none of them."""

from __future__ import annotations

import string
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras

from keras_trainsteps import compat
from keras_trainsteps.step.aims import WHOLE, Aim
from keras_trainsteps.step.for_objective import ForObjective
from keras_trainsteps.step.objective import Objective
from keras_trainsteps.step.plan import Plan

_OF_OPTIMIZER = (
    keras.callbacks.LearningRateScheduler,
    keras.callbacks.ReduceLROnPlateau,
    keras.callbacks.SwapEMAWeights,
    keras.callbacks.TensorBoard,  # logs its learning rate
)
_LOSSES = (WHOLE, f"val_{WHOLE}")


def require_one_optimizer(optimizer: Any) -> None:
    """Refuses a dict of optimizers for a model that has no objectives to name them by."""
    if isinstance(optimizer, Mapping) and "class_name" not in optimizer:
        raise ValueError(
            "`optimizer` may be a dict by name for a model with `objectives` alone. Received: "
            f"a dict of {sorted(map(str, optimizer))}. Define `objectives`, which returns an "
            "`Objective` for each; for groups of weights use `keras.optimizers.MultiOptimizer`."
        )


def require_only_objectives(
    model: Any, base: Any, objectives: Mapping[str, Objective], loss: Any, metrics: Iterable[Any]
) -> None:
    """Refuses losses beside the objectives, and metrics of an output that there is not.

    Args:
        model: The model.
        base: The class whose methods say nothing of losses.
        objectives: Its objectives.
        loss: The losses of `compile`.
        metrics: The metrics of `compile`.
    """
    beside = {
        "`loss` of `compile`": loss is not None,
        "a `compute_loss` of its own": type(model).compute_loss is not base.compute_loss,
        "a `compute_losses` that none of them takes": (
            type(model).compute_losses is not base.compute_losses
            and all(one.losses != model.compute_losses for one in objectives.values())
        ),
        "a class attribute `trains`": model.trains is not None,
    }
    for what, is_there in beside.items():
        if is_there:
            raise ValueError(
                "The losses of a model with `objectives`, and what they train, are those of its "
                f"objectives. Received: {what}. Say it in an `Objective`, or delete it."
            )
    gives_output = any(one.takes_output and not one.is_conditional for one in objectives.values())
    metrics = list(metrics)
    if metrics and not gives_output:
        raise ValueError(
            "`metrics` of `compile` compare targets with `y_pred`. Received: metrics of a model "
            "whose objectives do not ask for it in every step. Name `y_pred` in the hook of "
            "one, or update a metric of the model in a hook."
        )


def require_nothing_added(model: Any, added: Iterable[Any], parts: Sequence[str]) -> None:
    """Refuses terms that were added to a model with objectives: they belong to none."""
    names = [term.name for layer in added for term in layer.terms]
    if names and tuple(parts) != (WHOLE,):
        raise ValueError(
            "`add_loss` and `add_metric` are for models without `objectives`: what is added "
            f"belongs to none of {list(parts)}. Received: {names}. Return it from a hook."
        )


def require_whole(plan: Plan) -> None:
    """Refuses to tell the one loss of a model that has several objectives."""
    if not plan.is_whole:
        raise ValueError(
            "`compute_loss` is for models without `objectives`. Received: a model with "
            f"{[aim.name for aim in plan.aims]}, whose sum means nothing. Call the hook of one."
        )


def require_aims_for_replicas(model: keras.Model, aims: Sequence[Aim]) -> None:
    """Refuses what several replicas cannot do: to pass over an objective, to see gradients."""
    if model.distribute_strategy.num_replicas_in_sync == 1:
        return
    for aim in aims:
        conditional, changes = aim.objective.is_conditional, aim.objective.gradients
        if conditional or changes is not None:
            what = "`every` or `when`" if conditional else "`gradients`"
            why = (
                "replicas cannot exchange gradients within a branch"
                if conditional
                else "each replica has only its part of the gradients"
            )
            raise ValueError(
                f"{what} of an objective is for one replica: {why}. Received: objective "
                f"{aim.name!r} on {model.distribute_strategy.num_replicas_in_sync} replicas."
            )


def require_callbacks(callbacks: Any, parts: Sequence[str]) -> None:
    """Refuses callbacks that would act on no optimizer, or wait for a `loss` that is not logged.

    Raises:
        ValueError: For the first such callback.
    """
    require_named_optimizers(callbacks, parts)
    if tuple(parts) == (WHOLE,):
        return
    for callback in map(_inner, compat.callbacks_in(callbacks)):
        kind = type(callback).__name__
        argument, waits = _waits_for(callback)
        if waits:
            raise ValueError(
                f"`{argument}` must name what is logged: there is no 'loss' of several "
                f"objectives. Received: a `{kind}` of {waits!r}, where there are {list(parts)}, "
                "their terms, and these with 'val_'. Name one of them, or write a callback of "
                "your own."
            )


def require_named_optimizers(callbacks: Any, parts: Sequence[str]) -> None:
    """Refuses callbacks of Keras that act on one optimizer, where each objective has its own.

    Raises:
        ValueError: For the first such callback.
    """
    if tuple(parts) == (WHOLE,):
        return
    for callback in compat.callbacks_in(callbacks):
        kind = type(callback).__name__
        if isinstance(callback, _OF_OPTIMIZER):
            raise ValueError(
                f"`{kind}` acts on one optimizer, and each objective has its own. Received: a "
                f"model with {list(parts)}. Say of which, as "
                f"`ForObjective({parts[0]!r}, {kind}(...))`."
            )


def _inner(callback: keras.callbacks.Callback) -> keras.callbacks.Callback:
    return callback.callback if isinstance(callback, ForObjective) else callback


def _waits_for(callback: keras.callbacks.Callback) -> tuple[str, str | None]:
    """The argument by which a callback waits for the one loss of a model, and what it names."""
    if isinstance(callback, keras.callbacks.TerminateOnNaN):
        return "monitor", WHOLE
    if isinstance(callback, keras.callbacks.ModelCheckpoint):
        parts = string.Formatter().parse(str(callback.filepath))
        fields = {name for _, name, _, _ in parts if name}
        if named := fields & set(_LOSSES):
            return "filepath", min(named)
    if not getattr(callback, "save_best_only", True):
        return "monitor", None
    watched = getattr(callback, "monitor", None)
    return "monitor", watched if watched in _LOSSES else None
