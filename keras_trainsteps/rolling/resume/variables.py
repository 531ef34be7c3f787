"""The variables of a job by names that do not change from process to process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy.typing as npt

from keras_trainsteps import compat
from keras_trainsteps.rolling.resume.directory import Checkpoint
from keras_trainsteps.structure.structure import structure_of

Variables = dict[str, keras.Variable]

_GLOBAL = "seed|(global)"


def job_variables(
    model: keras.Model, extra: Mapping[str, keras.Variable], *, metrics: bool
) -> Variables:
    """All that a job changes while it trains.

    Args:
        model: A built and compiled model.
        extra: More variables by name.
        metrics: Whether within an epoch, where metrics hold a part of it.
    """
    structure = structure_of(model)
    named = {f"weight|{path}": v for path, v in structure.weights.items()}
    named |= {f"seed|{path}": v for path, v in structure.seeds.items()}
    known = {id(variable) for variable in named.values()}
    others = [v for v in model.variables if id(v) not in known]
    named |= {f"other|{i}|{v.name}": v for i, v in enumerate(others)}
    named |= {f"optimizer|{i}|{v.name}": v for i, v in enumerate(model.optimizer.variables)}
    weights = getattr(model, "loss_weight_variables", {})
    given = {id(variable) for variable in extra.values()}
    named |= {f"loss_weight|{name}": v for name, v in weights.items() if id(v) not in given}
    named |= {f"extra|{name}": v for name, v in extra.items()}
    if (drawn := compat.global_random_state()) is not None:
        named[_GLOBAL] = drawn
    if metrics:
        for variable in model.metrics_variables:
            alike = sum(name.startswith(f"metric|{variable.path}|") for name in named)
            named[f"metric|{variable.path}|{alike}"] = variable
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
        # A metric that only validation has is made later; it then begins at 0.
        and (not name.startswith("metric|") or (metrics and name in variables))
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


def _differences(
    variables: Mapping[str, keras.Variable], saved: Mapping[str, npt.NDArray[Any]]
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
