"""The variables of a job by names that do not change from process to process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import keras
import numpy.typing as npt

from keras_trainsteps import compat
from keras_trainsteps.rolling.artifacts.optimizer_state import optimizer_variables
from keras_trainsteps.rolling.resume.directory import Checkpoint
from keras_trainsteps.structure.names import names_of_classes
from keras_trainsteps.structure.structure import structure_of

Variable: TypeAlias = keras.Variable | compat.VariableInUse
Variables: TypeAlias = dict[str, Variable]

_GLOBAL = "seed|(global)"


def job_variables(
    model: keras.Model, extra: Mapping[str, keras.Variable], *, metrics: bool
) -> dict[str, Variable]:
    """All that a job changes while it trains.

    Args:
        model: A built and compiled model.
        extra: More variables by name.
        metrics: Whether within an epoch, where metrics hold a part of it.
    """
    structure = structure_of(model)
    named = {f"weight|{path}": v for path, v in structure.weights.items()}
    named |= {f"seed|{path}": v for path, v in structure.seeds.items()}
    named |= {f"optimizer|{name}": v for name, v in _of_optimizer(model, named).items()}
    known = {id(variable) for variable in named.values()}
    others = [v for v in model.variables if id(v) not in known]
    named |= {f"other|{i}": v for i, v in enumerate(others)}
    weights = getattr(model, "loss_weight_variables", {})
    given = {id(variable) for variable in extra.values()}
    named |= {f"loss_weight|{name}": v for name, v in weights.items() if id(v) not in given}
    accumulated = getattr(model, "accumulated_variables", {})
    named |= {f"accumulated|{name}": v for name, v in accumulated.items()}
    named |= {f"extra|{name}": v for name, v in extra.items()}
    if (drawn := compat.global_random_state()) is not None:
        named[_GLOBAL] = drawn
    if metrics:
        named |= {f"metric|{name}": v for name, v in _of_metrics(model).items()}
    return named


def restore_variables(variables: Variables, found: Checkpoint, *, metrics: bool) -> None:
    """Sets the variables of a job to what a checkpoint holds.

    Raises:
        ValueError: When one side has what the other lacks, or of another shape or dtype.
    """
    saved = {
        name: value
        for name, value in found.values.items()
        if not name.startswith("callback|")
        and not (name.startswith("metric|") and not metrics)
        # A metric that only validation has is made later, and begins at 0.
        and not (name.startswith("metric|") and name not in variables and not value.any())
    }
    if not {_GLOBAL} & set(variables) & set(saved):  # made, but not drawn from in training
        variables = {name: v for name, v in variables.items() if name != _GLOBAL}
        saved.pop(_GLOBAL, None)
    if wrong := _differences(variables, saved):
        raise ValueError(
            "The model must be that of the job that is resumed. Received: "
            f"{'; '.join(wrong[:5])}. Build and compile it as before; to start a new "
            "job from these weights, use `warm_start`."
        )
    for name, variable in variables.items():
        variable.assign(saved[name])


def _of_optimizer(model: keras.Model, named: Mapping[str, Variable]) -> Variables:
    """The state of an optimizer by the weight that it belongs to, whatever Keras calls it."""
    weights = {
        name.removeprefix("weight|"): v
        for name, v in named.items()
        if name.startswith("weight|") and isinstance(v, keras.Variable)
    }
    found: Variables = {}
    try:
        state = optimizer_variables(model.optimizer, weights)
        found |= state.scalars
        found |= {f"{slot}|{path}": v for (slot, path), v in state.slots.items()}
    except ValueError:
        found = {}  # state of an own kind: by its place
    known = {id(variable) for variable in found.values()}
    rest = [v for v in model.optimizer.variables if id(v) not in known]
    return found | {f"{i}": v for i, v in enumerate(rest)}


def _of_metrics(model: keras.Model) -> Variables:
    """What metrics hold, by names that do not depend on how many there were before."""
    found: Variables = {}
    metrics = list(_single(model.metrics))
    names = names_of_classes([(metric.name, type(metric).__name__) for metric in metrics])
    for metric in metrics:
        for variable in metric.variables:
            path = f"{names[metric.name]}|{variable.name}"
            alike = sum(name.startswith(f"{path}|") for name in found)
            if all(variable is not other for other in found.values()):
                found[f"{path}|{alike}"] = variable
    return found


def _single(metrics: Iterable[Any]) -> Iterator[keras.Metric]:
    """The metrics inside of what holds several, then what holds them."""
    for metric in metrics:
        yield from _single(getattr(metric, "metrics", ()))
        yield metric


def _differences(
    variables: Mapping[str, Variable], saved: Mapping[str, npt.NDArray[Any]]
) -> list[str]:
    """How the variables of a model differ from saved values in name, shape or dtype."""
    wrong = [f"{name} is not in the model" for name in saved if name not in variables]
    wrong += [f"{name} is not in the checkpoint" for name in variables if name not in saved]
    for name in set(variables) & set(saved):
        now = (tuple(variables[name].shape), variables[name].dtype)
        then = (saved[name].shape, saved[name].dtype.name)
        if now != then:
            wrong.append(f"{name} is {now}, was {then}")
    return sorted(wrong)
