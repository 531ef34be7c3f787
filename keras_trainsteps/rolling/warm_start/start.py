"""`warm_start`: a new job begins with the weights of an old one, or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import keras

from keras_trainsteps.rolling.artifacts.model_state import (
    ModelState,
    read_state,
    state_of,
    vocabularies_of,
)
from keras_trainsteps.rolling.warm_start.matching import (
    Patterns,
    layer_problems,
    renamed,
    vocabulary_problems,
)
from keras_trainsteps.rolling.warm_start.optimizer import plan_optimizer
from keras_trainsteps.rolling.warm_start.report import WarmStartReport
from keras_trainsteps.rolling.warm_start.vocabulary import VocabularyMap
from keras_trainsteps.rolling.warm_start.weights import (
    Plan,
    Value,
    ambiguous_weights,
    handled_vocabularies,
    plan_seeds,
    plan_weights,
    table_maps,
)
from keras_trainsteps.structure.structure import structure_of, value_of


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
    a crash, use `ResumableJob`.

    What `call` of a subclassed model does cannot be compared, only its layers and weights,
    by the attributes that hold them. Initializers, regularizers, dropout rates and
    `trainable` may differ: they are choices of the new job.

    Args:
        model: The built model to start, compiled if the optimizer matters.
        source: A directory of `save_for_training`, the directory of a registry's version,
            or a model in memory.
        optimizer: `"reset"` begins the optimizer anew, as compiled. `"carry"` goes on with
            the saved state, all of it: the class and options must be the same, and a
            learning-rate schedule must not be finished. Default: `"reset"`.
        learning_rate: `"code"` keeps the rate that the model was compiled with; `"saved"`
            takes that of the source. A schedule is always that of the code. Default:
            `"code"`.
        rename: New path by old, of layers or single weights. Default: none.
        vocabularies: For each table whose rows follow tokens: the path of its lookup
            layer, or a `VocabularyMap`. The key is the path of the table, or of a layer
            with one weight. Default: none.
        allow_unused: Paths of the source that may be left over, also with `*`; a layer's
            path stands for all that is below it. Default: none.
        allow_missing: Paths of the model that may stay as initialized. Default: none.

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
    maps, more = table_maps(vocabularies or {}, state, structure)
    tables = {path.rpartition("/")[0] for path in maps}
    problems += more
    problems += layer_problems(state.layers, structure.layers, unused, missing, tables)
    handled = handled_vocabularies(maps, state, structure)
    problems += vocabulary_problems(state.vocabularies, vocabularies_of(structure), handled)
    problems += ambiguous_weights("model", structure.weights) + ambiguous_weights(
        "source", state.weights
    )
    plan = Plan([], [], problems)
    plan_weights(plan, state, structure, maps, unused, missing)
    plan_seeds(plan, state, structure)
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
