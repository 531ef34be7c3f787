"""`warm_start`: a new job begins with the weights of an old one, or not at all."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import keras
import numpy as np
import numpy.typing as npt

from keras_trainsteps.rolling.matching import (
    Patterns,
    layer_problems,
    renamed,
    vocabulary_problems,
)
from keras_trainsteps.rolling.model_state import (
    ModelState,
    read_state,
    state_of,
    vocabularies_of,
)
from keras_trainsteps.rolling.report import Line, WarmStartReport
from keras_trainsteps.rolling.structure import Structure, structure_of, value_of
from keras_trainsteps.rolling.vocabulary import VocabularyMap
from keras_trainsteps.rolling.warm_optimizer import plan_optimizer

Value = npt.NDArray[Any]


class Plan(NamedTuple):
    """What is to be set, what is to be reported, what is wrong."""

    values: list[tuple[keras.Variable, Value]]
    lines: list[Line]
    problems: list[str]


def warm_start(
    model: keras.Model,
    source: str | os.PathLike[str] | keras.Model | ModelState,
    *,
    optimizer: Literal["reset", "carry"] = "reset",
    learning_rate: Literal["code", "saved"] = "code",
    rename: Mapping[str, str] | None = None,
    vocabularies: Mapping[str, str | VocabularyMap] | None = None,
    allow_unused: Iterable[str] = (),
    allow_missing: Iterable[str] = (),
) -> WarmStartReport:
    """Gives a model the weights of another job, checked on both sides.

    Everything is compared by name before anything is set: layers, what they compute and
    what they are called on, weights with shape and dtype, coefficients, vocabularies, the
    optimizer. One mismatch refuses the whole; the model then is as it was, to the bit.
    Random states are the model's own: this is a new job. To go on with the same job after
    a crash, use `ResumableCheckpoint`.

    What `call` of a subclassed model does cannot be compared, only its layers and weights,
    by the attributes that hold them. Initializers, regularizers, dropout rates and
    `trainable` may differ: they are choices of the new job.

    Args:
        model: The built model to start, compiled if the optimizer matters.
        source: A directory of `save_for_training`, the directory of a registry's version,
            or a model in memory.
        optimizer: `"reset"` begins the optimizer anew, as compiled. `"carry"` goes on with
            the saved state, all of it: the class and options must be the same, and a
            learning-rate schedule must not be finished.
        learning_rate: `"code"` keeps the rate that the model was compiled with; `"saved"`
            takes that of the source. A schedule is always that of the code.
        rename: New path by old, of layers or single weights.
        vocabularies: For each table whose rows follow tokens: the path of its lookup
            layer, or a `VocabularyMap`. The key is the path of the table, or of a layer
            with one weight.
        allow_unused: Paths of the source that may be left over, also with `*`; a layer's
            path stands for all that is below it.
        allow_missing: Paths of the model that may stay as initialized.

    Returns:
        What happened to every value on both sides; it prints as a table.

    Raises:
        ValueError: With every mismatch, by path and reason. Nothing was changed.

    Example:

    >>> def build():
    ...     return keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, name="out")])
    >>> monday, tuesday = build(), build()
    >>> print(warm_start(tuesday, monday))  # doctest: +ELLIPSIS
    warm start from model ...: 2 loaded, 0 remapped, 0 initialized, 0 dropped
      loaded       out/kernel  (3, 1)
      loaded       out/bias    (1,)
    """
    _require_choice("optimizer", optimizer, ("reset", "carry"))
    _require_choice("learning_rate", learning_rate, ("code", "saved"))
    structure = structure_of(model)
    state, problems = renamed(_state(source), rename or {})
    unused = Patterns("allow_unused", allow_unused)
    missing = Patterns("allow_missing", allow_missing)
    maps, more = _maps(vocabularies or {}, state, structure)
    tables = {path.rpartition("/")[0] for path in maps}
    problems += more
    problems += layer_problems(state.layers, structure.layers, unused, missing, tables)
    handled = _handled(maps, state, structure)
    problems += vocabulary_problems(state.vocabularies, vocabularies_of(structure), handled)
    problems += _ambiguous("model", structure.weights) + _ambiguous("source", state.weights)
    plan = Plan([], [], problems)
    _plan_weights(plan, state, structure, maps, unused, missing)
    _plan_seeds(plan, state, structure)
    plan.problems.extend([*unused.unmet(), *missing.unmet()])
    if not plan.problems:  # the optimizer's state is only as good as the weights'
        with model.distribute_strategy.scope():
            plan.problems.extend(
                plan_optimizer(plan, model, state, structure, maps, optimizer, learning_rate)
            )
    if plan.problems:
        listed = "\n".join(f"  {problem}" for problem in plan.problems)
        raise ValueError(
            f"`source` must match the model in every part. Received: {state.source}, which "
            f"differs in {len(plan.problems)}:\n{listed}\nNothing was changed. Rebuild the "
            "model as it was saved, or name what may differ in `rename`, `vocabularies`, "
            "`allow_unused` or `allow_missing`."
        )
    _apply(model, plan.values)
    return WarmStartReport(state.source, tuple(plan.lines))


def _state(source: Any) -> ModelState:
    if isinstance(source, ModelState):
        return source
    if isinstance(source, keras.Model):
        return state_of(source)
    path = Path(source)
    if path.is_file():
        raise ValueError(
            "`source` must be a directory that `save_for_training` wrote. Received: the "
            f"file `{path.name}`, which is not opened: it does not say what its weights "
            "belong to. Load it in the job that wrote it, and save it again."
        )
    return read_state(path / "training" if (path / "training").is_dir() else path)


def _maps(
    given: Mapping[str, str | VocabularyMap], state: ModelState, structure: Structure
) -> tuple[dict[str, VocabularyMap], list[str]]:
    """The map of each table's weight, with both vocabularies filled in."""
    maps, problems = {}, []
    new = vocabularies_of(structure)
    for name, value in given.items():
        found = VocabularyMap(lookup=value) if isinstance(value, str) else value
        below = [p for p in structure.weights if p == name or p.startswith(f"{name}/")]
        if len(below) != 1:
            problems.append(
                f"`vocabularies` names {name!r}, which must be one weight of the model, or "
                f"a layer with one. Received: {below or 'none'}"
            )
            continue
        lookup = found.lookup
        if lookup is not None:
            if lookup not in new or lookup not in state.vocabularies:
                problems.append(
                    f"`vocabularies` names the lookup {lookup!r}, which must be in both. "
                    f"The model has {sorted(new)}, the source {sorted(state.vocabularies)}"
                )
                continue
            found = VocabularyMap(
                old=state.vocabularies[lookup],
                new=new[lookup],
                axis=found.axis,
                new_rows=found.new_rows,
                new_slots=found.new_slots,
            )
        maps[below[0]] = found
    return maps, problems


def _ambiguous(side: str, paths: Iterable[str]) -> list[str]:
    """Weights that only the order in which they were made tells apart."""
    return [
        f"{path}: of the {side}: one of several weights of one name; give each a name of "
        "its own, or keep it in an attribute"
        for path in paths
        if re.search(r":\d+$", path)
    ]


def _handled(
    maps: Mapping[str, VocabularyMap], state: ModelState, structure: Structure
) -> list[str]:
    """Lookup layers whose change some table follows."""
    new = vocabularies_of(structure)
    return [
        path
        for path, tokens in new.items()
        for found in maps.values()
        if list(map(str, found.new or ())) == tokens
        and list(map(str, found.old or ())) == list(state.vocabularies.get(path, ()))
    ]


def _plan_weights(
    plan: Plan,
    state: ModelState,
    structure: Structure,
    maps: Mapping[str, VocabularyMap],
    unused: Patterns,
    missing: Patterns,
) -> None:
    for path, variable in structure.weights.items():
        shape, dtype = tuple(variable.shape), variable.dtype
        if path not in state.weights:
            if missing.allow(path):
                plan.lines.append(Line(path, "initialized", shape, "allowed to be missing"))
            else:
                plan.problems.append(
                    f"{path}: a weight of the model that the source lacks (`allow_missing`, "
                    "`rename`)"
                )
            continue
        value = state.weights[path]
        if value.dtype.name != dtype:
            plan.problems.append(
                f"{path}: dtype {value.dtype.name} in the source, {dtype} in the model"
            )
        elif path in maps:
            problem = maps[path].problem(value.shape, shape)
            if problem:
                plan.problems.append(f"{path}: {problem}")
                continue
            now = value_of(variable)
            plan.values.append((variable, maps[path].remap(value, now, maps[path].new_rows)))
            plan.lines.append(Line(path, "remapped", shape, _counted(maps[path])))
        elif value.shape != shape:
            plan.problems.append(
                f"{path}: shape {value.shape} in the source, {shape} in the model "
                "(`vocabularies`, if its rows are tokens)"
            )
        else:
            plan.values.append((variable, value))
            plan.lines.append(Line(path, "loaded", shape))
    for path, value in state.weights.items():
        if path in structure.weights:
            continue
        if unused.allow(path):
            plan.lines.append(Line(path, "dropped", value.shape, "allowed to be unused"))
        else:
            plan.problems.append(
                f"{path}: a weight of the source that the model lacks (`allow_unused`, `rename`)"
            )


def _plan_seeds(plan: Plan, state: ModelState, structure: Structure) -> None:
    reason = "a new job draws its own"
    for path, seed in structure.seeds.items():
        plan.lines.append(Line(f"random/{path}", "initialized", tuple(seed.shape), reason))
    for path, value in state.seeds.items():
        plan.lines.append(Line(f"random/{path}", "dropped", value.shape, reason))


def _counted(found: VocabularyMap) -> str:
    rows = found.rows()
    kept = int(np.sum(rows >= 0))
    return f"{kept} rows kept, {len(rows) - kept} new, {len(found.old or ()) - kept} dropped"


def _apply(model: keras.Model, values: list[tuple[keras.Variable, Value]]) -> None:
    """Sets all values; when one cannot be set, all are as before."""
    before = [(v, value_of(v).copy()) for v, _ in values]
    try:
        for variable, value in values:
            variable.assign(value)
    except BaseException:
        for variable, value in before:
            variable.assign(value)
        raise


def _require_choice(argument: str, value: Any, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"`{argument}` must be one of {choices}. Received: {value!r}.")
