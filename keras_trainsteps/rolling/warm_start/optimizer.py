"""What a warm start does to the optimizer: all of its state, or none of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np

from keras_trainsteps import compat
from keras_trainsteps.compat import learning_rate_schedule as schedule_of
from keras_trainsteps.rolling.artifacts.model_state import ModelState, OptimizerState, host
from keras_trainsteps.rolling.artifacts.optimizer_state import (
    OptimizerVariables,
    config_of,
    fresh_state,
    is_scheduled,
    optimizer_variables,
)
from keras_trainsteps.rolling.warm_start.report import Line
from keras_trainsteps.rolling.warm_start.vocabulary import VocabularyMap
from keras_trainsteps.rolling.warm_start.weights import Plan
from keras_trainsteps.structure.structure import Structure

_RATE = "learning_rate"


def plan_optimizer(
    plan: Plan,
    model: keras.Model,
    state: ModelState,
    structure: Structure,
    maps: Mapping[str, VocabularyMap],
    policy: str,
    learning_rate: str,
) -> list[str]:
    """Adds the optimizer's values and lines to a plan; returns what is wrong."""
    optimizer = getattr(model, "optimizer", None)
    if optimizer is None:
        asked = {"carry", "saved"} & {policy, learning_rate}
        _drop(plan, state.optimizer, "the model is not compiled")
        return [f"optimizer: {name!r} needs a compiled model" for name in sorted(asked)]
    was_built = optimizer.built
    if not was_built:
        begin = _unbuilt(optimizer, model, structure)
    else:
        begin = fresh_state(optimizer, structure.weights)
    initial = OptimizerVariables(host(begin.scalars), host(begin.slots))
    saved = state.optimizer
    problems: list[str] = []
    rates = _saved_rates(saved, optimizer, learning_rate, problems)
    if policy == "carry":
        problems += _carry_problems(saved, optimizer, initial, state, structure, maps)
    if problems:
        return problems
    if not was_built:
        optimizer.build(_trained(model))
    target = optimizer_variables(optimizer, structure.weights)
    carried = saved if policy == "carry" else None
    rate_names = _rate_names(target.scalars, optimizer)
    _plan_scalars(plan, target, initial, carried, saved, rate_names, rates)
    _plan_slots(plan, target, initial, carried, saved, maps)
    return []


def _plan_scalars(
    plan: Plan,
    target: OptimizerVariables,
    initial: OptimizerVariables,
    carried: OptimizerState | None,
    saved: OptimizerState | None,
    rate_names: set[str],
    rates: Mapping[str, Any],
) -> None:
    for name, variable in target.scalars.items():
        path, shape = f"optimizer/{name}", tuple(variable.shape)
        if name in rate_names:
            if name in rates:
                plan.values.append((variable, np.asarray(rates[name])))
                plan.lines.append(Line(path, "loaded", shape, "saved rate asked for"))
            else:
                plan.lines.append(Line(path, "initialized", shape, "as compiled"))
                if saved is not None and name in saved.scalars:
                    plan.lines.append(Line(path, "dropped", shape, "the code's rate counts"))
            continue
        if carried is not None:
            plan.values.append((variable, carried.scalars[name]))
            plan.lines.append(Line(path, "loaded", shape))
        else:
            plan.values.append((variable, initial.scalars[name]))
            plan.lines.append(Line(path, "initialized", shape, "optimizer reset"))
    if saved is not None:
        known = set(target.scalars) if carried is not None else set()
        for name, value in saved.scalars.items():
            if name not in known and name not in rate_names:
                plan.lines.append(
                    Line(f"optimizer/{name}", "dropped", value.shape, "optimizer reset")
                )


def _plan_slots(
    plan: Plan,
    target: OptimizerVariables,
    initial: OptimizerVariables,
    carried: OptimizerState | None,
    saved: OptimizerState | None,
    maps: Mapping[str, VocabularyMap],
) -> None:
    for key, variable in target.slots.items():
        path, shape = f"optimizer/{key[0]}/{key[1]}", tuple(variable.shape)
        if carried is None or key not in carried.slots:
            plan.values.append((variable, initial.slots[key]))
            reason = "optimizer reset" if carried is None else "its weight is new"
            plan.lines.append(Line(path, "initialized", shape, reason))
        elif key[1] in maps and carried.slots[key].ndim > 0:
            found = maps[key[1]]
            value = found.remap(carried.slots[key], initial.slots[key], found.new_slots)
            plan.values.append((variable, value))
            plan.lines.append(Line(path, "remapped", shape, "with its table"))
        else:
            plan.values.append((variable, carried.slots[key]))
            plan.lines.append(Line(path, "loaded", shape))
    if saved is not None:
        for key, value in saved.slots.items():
            if carried is None or key not in target.slots:
                reason = "optimizer reset" if carried is None else "its weight is dropped"
                path = f"optimizer/{key[0]}/{key[1]}"
                plan.lines.append(Line(path, "dropped", value.shape, reason))


def _carry_problems(
    saved: OptimizerState | None,
    optimizer: Any,
    initial: OptimizerVariables,
    state: ModelState,
    structure: Structure,
    maps: Mapping[str, VocabularyMap],
) -> list[str]:
    if saved is None:
        return ["optimizer: the source has no optimizer state; use `optimizer='reset'`"]
    config = config_of(optimizer)
    if saved.config != config:
        classes = [side.get("class_name") for side in (saved.config, config)]
        if classes[0] != classes[1]:
            return [
                f"optimizer: {classes[0]} in the source, {classes[1]} in the model; use "
                "`optimizer='reset'`"
            ]
        parts = [side.get("config", {}) for side in (saved.config, config)]
        keys = sorted(k for k in {*parts[0], *parts[1]} if parts[0].get(k) != parts[1].get(k))
        return [
            f"optimizer: {key} is {parts[0].get(key)!r} in the source, "
            f"{parts[1].get(key)!r} in the model; use `optimizer='reset'`"
            for key in keys
        ]
    scheduled = is_scheduled(optimizer)
    if saved.scheduled != scheduled:
        kinds = ["a schedule" if s else "a constant rate" for s in (saved.scheduled, scheduled)]
        return [
            f"optimizer: {kinds[0]} in the source, {kinds[1]} in the model; use "
            "`optimizer='reset'`"
        ]
    problems = _finished(optimizer, saved)
    for key, value in initial.slots.items():
        path = f"optimizer/{key[0]}/{key[1]}"
        if key not in saved.slots:
            if key[1] in state.weights:
                problems.append(f"{path}: not in the source: was its weight frozen there?")
            continue
        old = saved.slots[key]
        table = maps.get(key[1])
        if table is not None and old.ndim:
            if old.shape != state.weights[key[1]].shape:
                problems.append(f"{path}: its shape {old.shape} is not that of its table")
        elif old.shape != value.shape or old.dtype != value.dtype:
            problems.append(
                f"{path}: {old.dtype.name} {old.shape} in the source, {value.dtype.name} "
                f"{value.shape} in the model"
            )
    problems += [
        f"optimizer/{slot}/{path}: not in the model: is its weight frozen there?"
        for slot, path in saved.slots
        if (slot, path) not in initial.slots and path in structure.weights
    ]
    if set(initial.scalars) != set(saved.scalars):
        problems.append(
            f"optimizer: {sorted(saved.scalars)} in the source, {sorted(initial.scalars)} "
            "in the model"
        )
    return problems


def _finished(optimizer: Any, saved: OptimizerState) -> list[str]:
    """Schedules that, at the saved step, have come to their end: they would train with that."""
    every = compat.each_optimizer(optimizer)
    return [each for at, one in every.items() for each in _finished_one(at, one, saved)]


def _finished_one(begin: str, optimizer: Any, saved: OptimizerState) -> list[str]:
    schedule = schedule_of(optimizer)
    if schedule is None or not isinstance(
        schedule, keras.optimizers.schedules.LearningRateSchedule
    ):
        return []
    iterations = next(
        int(value)
        for name, value in saved.scalars.items()
        if name.startswith(begin) and name.endswith("iterations")
    )
    later = [float(schedule(iterations + step)) for step in (0, 1, 10, 1000, 100_000)]
    if len(set(later)) == 1 and later[0] != float(schedule(0)):
        return [
            f"optimizer: the schedule {type(schedule).__name__} is finished at the saved "
            f"step {iterations}: the learning rate would be {later[0]:.3g} for ever; use "
            "`optimizer='reset'`, which begins it anew"
        ]
    return []


def _saved_rates(
    saved: OptimizerState | None, optimizer: Any, asked: str, problems: list[str]
) -> dict[str, Any]:
    if asked == "code":
        return {}
    constant = saved is not None and not saved.scheduled and not is_scheduled(optimizer)
    names = _rate_names(saved.scalars, optimizer) if constant and saved else set()
    if saved is None or not names:
        problems.append(
            "optimizer/learning_rate: 'saved' needs a constant rate in both; the schedule "
            "of the code stays with `learning_rate='code'`"
        )
        return {}
    return {name: saved.scalars[name] for name in names}


def _rate_names(names: Iterable[str], optimizer: Any) -> set[str]:
    """The scalars that hold the learning rates; a wrapper's own one is never used."""
    rates = [name for name in names if name.rpartition("/")[2] == _RATE]
    of_each = [
        [rate for rate in rates if rate.startswith(begin)]
        for begin, one in compat.each_optimizer(optimizer).items()
        if schedule_of(one) is None
    ]
    return {max(of_one, key=len) for of_one in of_each if of_one}


def _unbuilt(optimizer: Any, model: keras.Model, structure: Structure) -> OptimizerVariables:
    """The state that an unbuilt optimizer will have, from a copy of it."""
    copy = compat.unbuilt_copy(optimizer)
    copy.build(_trained(model))
    return optimizer_variables(copy, structure.weights)


def _trained(model: keras.Model) -> list[keras.Variable]:
    """What the optimizer will train: what a model says, or all."""
    trained: list[keras.Variable] = getattr(model, "trained_weights", model.trainable_variables)
    return trained


def _drop(plan: Plan, saved: OptimizerState | None, reason: str) -> None:
    if saved is None:
        return
    for name, value in saved.scalars.items():
        plan.lines.append(Line(f"optimizer/{name}", "dropped", value.shape, reason))
    for (slot, path), value in saved.slots.items():
        plan.lines.append(Line(f"optimizer/{slot}/{path}", "dropped", value.shape, reason))
