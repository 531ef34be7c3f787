"""What a job is, as JSON: a resumed one must be the same, or is refused with what differs."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_trainsteps import compat
from keras_trainsteps.rolling.resume.callbacks import options_of
from keras_trainsteps.rolling.resume.code import Descriptions, own_attributes
from keras_trainsteps.structure.network import is_network
from keras_trainsteps.structure.structure import structure_of

_OF_COMPILE = ("optimizer", "loss", "loss_weights", "metrics", "weighted_metrics")


def description_of(
    model: keras.Model,
    callbacks: Sequence[keras.callbacks.Callback],
    stateless: Sequence[type[keras.callbacks.Callback]],
    validation_data: Any,
    **options: Any,
) -> tuple[dict[str, Any], list[Any]]:
    """All that decides how a job goes on from a state.

    Args:
        model: A built and compiled model.
        callbacks: Those of the job.
        stateless: Classes of callbacks that are not compared.
        validation_data: That of `fit`.
        options: What else to compare, by name.

    Returns:
        The description, and the variables that functions and objects of the job hold.
    """
    found, of_callbacks = Descriptions(), Descriptions(rates=False)
    described = {
        "versions": _versions(),
        **{name: found.of(value) for name, value in options.items()},
        "validation_data": _described_data(validation_data),
        **_compiled(model, found),
        "model": _network(model, found),
        "callbacks": [options_of(each, stateless, of_callbacks) for each in callbacks],
    }
    return described, [*found.variables, *of_callbacks.variables]


def require_repeatable(validation_data: Any) -> None:
    """Refuses validation data that can be gone through once, and so not again."""
    if hasattr(validation_data, "__next__"):
        raise ValueError(
            "`validation_data` must be what can be gone through again, from its beginning. "
            f"Received: a {type(validation_data).__name__}, whose place is not known after a "
            "crash. Pass arrays or a `tf.data.Dataset`."
        )


def _versions() -> dict[str, str]:
    python = ".".join(platform.python_version_tuple()[:2])
    packages = {"keras": keras.__version__, "tensorflow": tf.__version__}
    return {"python": python, "keras_trainsteps": _own_version(), **packages}


def _own_version() -> str:
    try:
        return importlib.metadata.version("keras_trainsteps")
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _compiled(model: keras.Model, found: Descriptions) -> dict[str, Any]:
    """What `compile` was given; a loss weight that is a variable is state."""
    given = compat.compile_options(model)
    given["optimizer"] = model.optimizer
    weights = given.get("loss_weights")
    variables = getattr(model, "loss_weight_variables", {})
    flat = [
        "a variable" if "/".join(map(str, path)) in variables else weight
        for path, weight in keras.tree.flatten_with_path(weights)
    ]
    given["loss_weights"] = keras.tree.pack_sequence_as(weights, flat)
    described = {name: found.of(given.get(name)) for name in _OF_COMPILE}
    if "accumulate_steps" in given:  # of a `LossAwareModel` that does
        described["accumulate_steps"] = given["accumulate_steps"]
    return described | {
        "jit_compile": bool(model.jit_compile),
        "run_eagerly": bool(model.run_eagerly),
        "steps_per_execution": int(model.steps_per_execution),
    }


def _network(model: keras.Model, found: Descriptions) -> dict[str, Any]:
    structure = structure_of(model, training=True)
    layers = compat.sublayers(model)
    kinds = {type(layer).__qualname__: found.of(type(layer)) for layer in layers}
    vocabularies = {
        path: list(map(str, layer.get_vocabulary()))
        for path, layer in structure.vocabularies.items()
    }
    return {
        **found.of(type(model)),
        "attributes": found.of(own_attributes(model)),
        "layers": structure.layers,
        "classes": {name: kind for name, kind in kinds.items() if "code" in kind},
        "own": [found.of(layer) for layer in layers if "code" in found.of(type(layer))],
        "added": [
            found.of([term.name, term.kind, term.source])
            for layer in layers
            if not is_network(layer)
            for term in getattr(layer, "terms", ())
        ],
        "vocabularies": found.of(keras.tree.map_structure(str, vocabularies)),
        "weights": {
            path: [list(variable.shape), variable.dtype, bool(variable.trainable)]
            for path, variable in structure.weights.items()
        },
    }


def _described_data(data: Any) -> Any:
    if isinstance(data, tf.data.Dataset):
        return {"batches": int(data.cardinality()), "of": str(data.element_spec)}
    if isinstance(data, keras.utils.PyDataset):
        return {"batches": data.num_batches, "of": type(data).__qualname__}
    return Descriptions().of(data)
