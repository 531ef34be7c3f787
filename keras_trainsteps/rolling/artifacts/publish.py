"""A model as a version of a registry: what serves, what trains on, what servers watch."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import keras

from keras_trainsteps.rolling.artifacts.inference import load_for_inference, write_inference
from keras_trainsteps.rolling.artifacts.model_state import write_training
from keras_trainsteps.rolling.artifacts.scorer import Inputs, fingerprint
from keras_trainsteps.rolling.artifacts.serving import Batch, export_saved_model
from keras_trainsteps.rolling.disk.files import sha256_of
from keras_trainsteps.rolling.disk.manifest import NAME, files_of
from keras_trainsteps.rolling.registry.registry import ModelRegistry

INFERENCE, TRAINING = "inference", "training"


def publish_model(
    registry: ModelRegistry,
    model: keras.Model,
    *,
    metrics: Mapping[str, float] | None = None,
    parent: int | str | None = None,
    data_window: tuple[str, str] | None = None,
    inputs: Inputs = None,
    custom_layers: Collection[str] = (),
    saved_model: bool = False,
    golden: Batch | None = None,
) -> int:
    """Publishes a model as a new version. No alias moves.

    The version holds `inference/` (see `save_for_inference`) and `training/` (see
    `save_for_training`, the source of the next `warm_start`).

    Args:
        registry: The registry.
        model: A built model.
        metrics: Numbers to record with it, by name. Default: none.
        parent: The version that it was trained on from, or an alias of it. Default: none.
        data_window: First and last of the data that it was trained on, as text. Default:
            none.
        inputs: For a model that defines `call`, as for `save_for_inference`.
        custom_layers: As for `save_for_inference`. Default: none.
        saved_model: Whether to put a SavedModel into the version's directory, where
            TensorFlow Serving finds it. It is tried out on `golden` first. Default `False`.
        golden: As for `export_serving`.

    Returns:
        The number of the version.

    Raises:
        OSError: When the disk is full, read-only or fails. Nothing is published then.
        ValueError: As `save_for_inference` and `export_serving`; when `parent` is no
            version.

    Example:

    >>> import tempfile
    >>> registry = ModelRegistry(tempfile.mkdtemp())
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    >>> publish_model(registry, model)
    1
    >>> load_published(registry, 1).count_params()
    4
    """

    def write(stage: Path) -> None:
        if saved_model:
            export_saved_model(model, stage, inputs=inputs, golden=golden)
        for name in (INFERENCE, TRAINING):
            (stage / name).mkdir()
        write_inference(model, stage / INFERENCE, inputs=inputs, custom_layers=custom_layers)
        write_training(model, stage / TRAINING)

    return registry.publish(
        write,
        metrics=metrics,
        parent=parent,
        data_window=data_window,
        fingerprint=fingerprint(model),
    )


def load_published(
    registry: ModelRegistry,
    which: int | str = "champion",
    *,
    custom_objects: Mapping[str, Any] | None = None,
) -> keras.Model:
    """Loads the network of a version, its files checked against the version's manifest.

    Args:
        registry: The registry.
        which: A number or an alias. Default `"champion"`.
        custom_objects: As for `load_for_inference`. Default: none.

    Returns:
        The network, a stock Keras model that is not compiled.

    Raises:
        ValueError: For a missing or damaged version, or one without a network.

    Example:

    >>> import tempfile
    >>> registry = ModelRegistry(tempfile.mkdtemp())
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    >>> load_published(registry, publish_model(registry, model)).count_params()
    4
    """
    found = registry.get(which)
    files_of(found.path)  # refuses links, which lead out of the registry
    name = f"{INFERENCE}/{NAME}"
    if name not in found.files:
        raise ValueError(
            f"Version {found.number} must hold a network. Received: {sorted(found.files)}. "
            "Publish it with `publish_model`."
        )
    path = found.path / name
    if not path.is_file() or sha256_of(path) != found.files[name]["sha256"]:
        raise ValueError(
            f"`{path}` must be as it was written. Received: other content. Do not use "
            "this version; roll back to another."
        )
    return load_for_inference(found.path / INFERENCE, custom_objects=custom_objects)
