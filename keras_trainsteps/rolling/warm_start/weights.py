"""What a warm start does with each weight: all of it is planned before anything is set."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import keras
import numpy as np
import numpy.typing as npt

from keras_trainsteps.rolling.artifacts.model_state import ModelState, vocabularies_of
from keras_trainsteps.rolling.warm_start.matching import Patterns
from keras_trainsteps.rolling.warm_start.report import Line
from keras_trainsteps.rolling.warm_start.vocabulary import VocabularyMap
from keras_trainsteps.structure.structure import Structure, value_of

Value = npt.NDArray[Any]


class Plan(NamedTuple):
    """What is to be set, what is to be reported, what is wrong."""

    values: list[tuple[keras.Variable, Value]]
    lines: list[Line]
    problems: list[str]


def table_maps(
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


def handled_vocabularies(
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


def plan_weights(
    plan: Plan,
    state: ModelState,
    structure: Structure,
    maps: Mapping[str, VocabularyMap],
    unused: Patterns,
    missing: Patterns,
) -> None:
    """Loads, remaps, leaves or drops every weight of both sides, or says why not."""
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


def plan_seeds(plan: Plan, state: ModelState, structure: Structure) -> None:
    """Random states are never carried over."""
    reason = "a new job draws its own"
    for path, seed in structure.seeds.items():
        plan.lines.append(Line(f"random/{path}", "initialized", tuple(seed.shape), reason))
    for path, value in state.seeds.items():
        plan.lines.append(Line(f"random/{path}", "dropped", value.shape, reason))


def ambiguous_weights(side: str, paths: Iterable[str]) -> list[str]:
    """Weights that only the order in which they were made tells apart."""
    return [
        f"{path}: of the {side}: one of several weights of one name; give each a name of "
        "its own, or keep it in an attribute"
        for path in paths
        if re.search(r":\d+$", path)
    ]


def _counted(found: VocabularyMap) -> str:
    rows = found.rows()
    kept = int(np.sum(rows >= 0))
    return f"{kept} rows kept, {len(rows) - kept} new, {len(found.old or ()) - kept} dropped"
