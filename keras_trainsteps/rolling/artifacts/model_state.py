"""`ModelState`: a copy of a model's state and structure, in memory or in files."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy.typing as npt

from keras_trainsteps.rolling.artifacts.optimizer_state import (
    config_of,
    is_scheduled,
    optimizer_variables,
)
from keras_trainsteps.rolling.disk import arrays, fields, files, manifest
from keras_trainsteps.rolling.disk.arrays import Arrays
from keras_trainsteps.structure.structure import Structure, structure_of, value_of

KIND = "training"
_FILE = "state.safetensors"
_OPTIMIZER = {"config": fields.OBJECT, "scheduled": fields.BOOL}
_FIELDS = {
    "arrays": fields.list_of(fields.TEXT),
    "layers": fields.object_of(fields.OBJECT),
    "vocabularies": fields.object_of(fields.list_of(fields.TEXT)),
    "optimizer": fields.optional(fields.record(_OPTIMIZER)),
}


@dataclasses.dataclass(frozen=True)
class OptimizerState:
    """The state of an optimizer.

    Attributes:
        config: Its class and options, without name and learning rate.
        scheduled: Whether the learning rate follows a schedule.
        scalars: Values that belong to no weight, by name.
        slots: Values that belong to one weight, by slot name and path.
    """

    config: dict[str, Any]
    scheduled: bool
    scalars: Arrays
    slots: dict[tuple[str, str], npt.NDArray[Any]]


@dataclasses.dataclass(frozen=True)
class ModelState:
    """What a new job can start from: a copy of a model's state, by name.

    `warm_start` takes one in place of a model or a directory.

    Args:
        weights: Values of the weights by path, e.g. `"hidden/kernel"`.
        seeds: Random states of layers such as `Dropout`, by path.
        layers: What each layer computes, by path: its class and options as JSON values.
        vocabularies: The tokens of each lookup layer by path, in the order of their rows.
        optimizer: The state of the optimizer; `None` for a model that has none, or one
            that is not built.
        source: Where it is from, for messages.

    Example:

    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, name="score")])
    >>> list(state_of(model).weights)
    ['score/kernel', 'score/bias']
    """

    weights: Arrays
    seeds: Arrays
    layers: dict[str, dict[str, Any]]
    vocabularies: dict[str, list[str]]
    optimizer: OptimizerState | None
    source: str


def state_of(model: keras.Model, *, copy: bool = True) -> ModelState:
    """A model's state; without `copy`, for reading and for the moment."""
    structure = structure_of(model)
    return ModelState(
        weights=host(structure.weights, copy=copy),
        seeds=host(structure.seeds, copy=copy),
        layers=structure.layers,
        vocabularies=vocabularies_of(structure),
        optimizer=_optimizer_state(model, structure, copy=copy),
        source=f"model {model.name!r}",
    )


def save_for_training(model: keras.Model, path: str | os.PathLike[str]) -> None:
    """Saves what a later job needs to go on from: see `warm_start`.

    Weights, coefficients, vocabularies and the state of the optimizer are stored by name,
    with what each layer computes, so that a mismatch is found before anything is loaded.
    There is no code in the files.

    Args:
        model: A built model, compiled or not.
        path: The directory to write, which must not exist. It appears whole or not at all:
            `state.safetensors`, and a manifest with names, structure and SHA-256.

    Raises:
        OSError: When the disk is full, read-only or fails. Nothing is written then.
        ValueError: When `path` exists, or the model is not built.

    Example:

    >>> import tempfile
    >>> from keras_trainsteps.rolling import warm_start
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    >>> path = Path(tempfile.mkdtemp()) / "monday"
    >>> save_for_training(model, path)
    >>> print(warm_start(keras.models.clone_model(model), path).summary)
    2 loaded, 0 remapped, 0 initialized, 0 dropped
    """
    path = Path(path)
    if path.exists():
        raise ValueError(f"`path` must not exist. Received: `{path}`. Choose another.")
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.stage(path.parent.resolve()) as stage:
        write_training(model, stage)
        if not files.rename_new(stage, path):
            raise ValueError(f"`path` must not exist. Received: `{path}`.")
    files.sync_directory(path.parent)


def write_training(model: keras.Model, directory: Path) -> None:
    """Fills an empty directory as `save_for_training` does."""
    state = state_of(model, copy=False)
    flat = {
        **{f"weight|{path}": value for path, value in state.weights.items()},
        **{f"seed|{path}": value for path, value in state.seeds.items()},
    }
    about: dict[str, Any] = {
        "layers": state.layers,
        "vocabularies": state.vocabularies,
        "optimizer": None,
        "keras": keras.__version__,
    }
    if state.optimizer is not None:
        scalars, slots = state.optimizer.scalars, state.optimizer.slots
        flat |= {f"scalar|{name}": value for name, value in scalars.items()}
        flat |= {f"slot|{slot}|{path}": v for (slot, path), v in slots.items()}
        about["optimizer"] = {
            "config": state.optimizer.config,
            "scheduled": state.optimizer.scheduled,
        }
    about["arrays"], entry = arrays.write_arrays(directory / _FILE, flat)
    manifest.seal(directory, KIND, about, {_FILE: entry})


def read_state(path: str | os.PathLike[str]) -> ModelState:
    """Reads what `save_for_training` wrote, after checking that it is unchanged.

    Raises:
        ValueError: For anything else, before it is parsed.
    """
    path = Path(path)
    about = manifest.verify(path, KIND)["about"]
    fields.require(about, _FIELDS, path)
    parts: dict[str, Arrays] = {"weight": {}, "seed": {}, "scalar": {}, "slot": {}}
    for name, value in arrays.read_arrays(path / _FILE, about["arrays"]).items():
        kind, _, rest = name.partition("|")
        if kind not in parts or (kind == "slot" and "|" not in rest):
            raise ValueError(
                f"`{path}` must hold weights, seeds and the state of an optimizer. Received: "
                f"the array {name!r}."
            )
        parts[kind][rest] = value
    optimizer = about["optimizer"]
    if optimizer is not None:
        slots = {(n.split("|", 1)[0], n.split("|", 1)[1]): v for n, v in parts["slot"].items()}
        optimizer = OptimizerState(
            optimizer["config"], optimizer["scheduled"], parts["scalar"], slots
        )
    return ModelState(
        weights=parts["weight"],
        seeds=parts["seed"],
        layers=about["layers"],
        vocabularies=about["vocabularies"],
        optimizer=optimizer,
        source=f"`{path}`",
    )


def host(
    variables: Mapping[Any, keras.Variable], *, copy: bool = True
) -> dict[Any, npt.NDArray[Any]]:
    """The values of variables."""
    values = {name: value_of(variable) for name, variable in variables.items()}
    return {name: value.copy() for name, value in values.items()} if copy else values


def vocabularies_of(structure: Structure) -> dict[str, list[str]]:
    """The tokens of each lookup layer, special ones included, in the order of their rows."""
    return {
        path: [str(token) for token in layer.get_vocabulary()]
        for path, layer in structure.vocabularies.items()
    }


def _optimizer_state(
    model: keras.Model, structure: Structure, *, copy: bool
) -> OptimizerState | None:
    optimizer = getattr(model, "optimizer", None)
    if optimizer is None or not optimizer.built:
        return None
    scalars, slots = optimizer_variables(optimizer, structure.weights)
    return OptimizerState(
        config=config_of(optimizer),
        scheduled=is_scheduled(optimizer),
        scalars=host(scalars, copy=copy),
        slots=host(slots, copy=copy),
    )
