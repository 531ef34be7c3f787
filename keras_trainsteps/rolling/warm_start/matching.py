"""Whether what a source computes is what the model computes: found before anything is set."""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from keras_trainsteps.rolling.artifacts.model_state import ModelState


class Patterns:
    """Paths that may be left over on one side; each must be met by something.

    A pattern is a path, the path of a layer above it, or has `*` for any characters.
    """

    def __init__(self, argument: str, patterns: Iterable[str]) -> None:
        self.argument = argument
        self.patterns = [patterns] if isinstance(patterns, str) else list(patterns)
        self._met: set[str] = set()

    def allow(self, path: str) -> bool:
        """Whether `path` may be left over."""
        met = [
            pattern
            for pattern in self.patterns
            if path == pattern
            or path.startswith(f"{pattern}/")
            or fnmatch.fnmatchcase(path, pattern)
        ]
        self._met.update(met)
        return bool(met)

    def unmet(self) -> list[str]:
        """One problem for each pattern that nothing matched."""
        return [
            f"`{self.argument}` names {pattern!r}, which is not left over"
            for pattern in self.patterns
            if pattern not in self._met
        ]


def renamed(state: ModelState, rename: Mapping[str, str]) -> tuple[ModelState, list[str]]:
    """The source under the model's names, and what is wrong with `rename`."""
    problems = []
    everything = {*state.weights, *state.layers, *state.vocabularies}
    for old in rename:
        if not any(path == old or path.startswith(f"{old}/") for path in everything):
            problems.append(f"`rename` names {old!r}, which the source does not have")

    def new_name(path: str) -> str:
        for old, new in rename.items():
            if path == old or path.startswith(f"{old}/"):
                return new + path[len(old) :]
        return path

    def within(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: within(item) for key, item in value.items()}
        if isinstance(value, list):
            return [within(item) for item in value]
        return rename.get(value, value) if isinstance(value, str) else value

    def keys(values: Mapping[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for path, value in values.items():
            name = new_name(path)
            if name in found or (name != path and name in values and name not in rename):
                problems.append(f"`rename` makes two things of the source {name!r}")
            found[name] = value
        return found

    layers = {
        path: {k: within(v) if k == "called_on" else v for k, v in signature.items()}
        for path, signature in keys(state.layers).items()
    }
    optimizer = state.optimizer
    if optimizer is not None:
        slots = {(slot, new_name(path)): v for (slot, path), v in optimizer.slots.items()}
        optimizer = dataclasses.replace(optimizer, slots=slots)
    return dataclasses.replace(
        state,
        weights=keys(state.weights),
        seeds=keys(state.seeds),
        layers=layers,
        vocabularies=keys(state.vocabularies),
        optimizer=optimizer,
    ), problems


def layer_problems(
    source: Mapping[str, Mapping[str, Any]],
    target: Mapping[str, Mapping[str, Any]],
    unused: Patterns,
    missing: Patterns,
    remapped: Iterable[str],
) -> list[str]:
    """Layers that one side lacks, or that compute something else."""
    gone = [path for path in source if path not in target]
    added = [path for path in target if path not in source]
    problems = [
        f"{path}: a layer of the source that the model lacks (`allow_unused`, `rename`)"
        for path in gone
        if not unused.allow(path)
    ]
    problems += [
        f"{path}: a layer of the model that the source lacks (`allow_missing`, `rename`)"
        for path in added
        if not missing.allow(path)
    ]
    tables = set(remapped)
    for path in source:
        if path in target:
            reason = _difference(source[path], target[path], {*gone, *added}, path in tables)
            if reason:
                problems.append(f"{path}: {reason}")
    return problems


def vocabulary_problems(
    source: Mapping[str, Sequence[str]],
    target: Mapping[str, Sequence[str]],
    handled: Iterable[str],
) -> list[str]:
    """Lookup layers whose tokens stand in other rows than in the source."""
    problems = []
    for path in sorted(set(source) & set(target) - set(handled)):
        old, new = list(source[path]), list(target[path])
        if old == new:
            continue
        pairs = zip(old, new, strict=False)
        row = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(old), len(new)))
        tokens = [side[row] if row < len(side) else "nothing" for side in (old, new)]
        problems.append(
            f"{path}: other vocabulary: row {row} is {tokens[0]!r} in the source, "
            f"{tokens[1]!r} in the model ({len(old)} and {len(new)} tokens); pass "
            f"`vocabularies={{'the table it indexes': {path!r}}}`"
        )
    return problems


def _difference(
    source: Mapping[str, Any],
    target: Mapping[str, Any],
    left_over: set[str],
    is_table: bool,
) -> str | None:
    if source.get("class") != target.get("class"):
        return f"class {source.get('class')} in the source, {target.get('class')} in the model"
    configs = [dict(side.get("config") or {}) for side in (source, target)]
    if is_table:
        for config in configs:
            config.pop("input_dim", None)
            config.pop("units", None)
    found = _first_difference(configs[0], configs[1])
    if found:
        return "{} is {!r} in the source, {!r} in the model".format(*found)
    calls = [side.get("called_on") for side in (source, target)]
    if calls[0] != calls[1] and not (_strings(calls) & left_over):
        return f"called on {_short(calls[0])} in the source, on {_short(calls[1])} in the model"
    return None


def _first_difference(old: Any, new: Any, path: str = "") -> tuple[str, Any, Any] | None:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted({*old, *new}):
            here = f"{path}.{key}" if path else str(key)
            found = _first_difference(old.get(key), new.get(key), here)
            if found:
                return found
        return None
    return None if old == new else (path, old, new)


def _strings(value: Any) -> set[str]:
    if isinstance(value, Mapping):
        return {name for item in value.values() for name in _strings(item)}
    if isinstance(value, list):
        return {name for item in value for name in _strings(item)}
    return {value} if isinstance(value, str) else set()


def _short(value: Any) -> str:
    return f"`{value}`" if isinstance(value, str) else f"`{str(value)[:120]}`"
