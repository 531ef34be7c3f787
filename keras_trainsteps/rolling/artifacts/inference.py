"""`save_for_inference` and `load_for_inference`: the scorer alone, as stock Keras."""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import keras

from keras_trainsteps.rolling.artifacts.scorer import Inputs, require_stock, scorer_of
from keras_trainsteps.rolling.disk import fields, files, manifest

KIND = "inference"
MODEL = "model.keras"
_MEMBERS = ("metadata.json", "config.json", "model.weights.h5")


def save_for_inference(
    model: keras.Model,
    path: str | os.PathLike[str],
    *,
    inputs: Inputs = None,
    custom_layers: Collection[str] = (),
) -> None:
    """Saves the network of a model, and nothing else, as a stock Keras file.

    It is served by a process that has neither the loss nor `keras_trainsteps`:
    `keras.saving.load_model(path / "model.keras")` loads it, and `load_for_inference`
    does so after checking its SHA-256. No side input, no coefficient of the model, no
    optimizer is in it.

    Args:
        model: A built model: Functional, Sequential, or one that defines `call`.
        path: The directory to write, which must not exist. It appears whole or not at all.
        inputs: For a model that defines `call`: the structure of `keras.Input` that
            `call` takes, side inputs left out. Default: none.
        custom_layers: Registered names (`"package>Class"`) of layers that are not Keras's
            and that whoever loads the file has. Default: none.

    Raises:
        ValueError: When `path` exists, when the model is not built, when its network
            cannot be separated, or holds a `Lambda` or a class that is not named.

    Example:

    >>> import tempfile
    >>> from keras_trainsteps import LossAwareModel
    >>> inputs = keras.Input((3,), name="features")
    >>> model = LossAwareModel(inputs, keras.layers.Dense(1)(inputs))
    >>> path = Path(tempfile.mkdtemp()) / "scorer"
    >>> save_for_inference(model, path)
    >>> type(load_for_inference(path)).__name__
    'Functional'
    """
    path = Path(path)
    if path.exists():
        raise ValueError(
            f"`path` must not exist: nothing is overwritten. Received: `{path}`. Choose "
            "another, or delete it."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.stage(path.parent.resolve()) as stage:
        write_inference(model, stage, inputs=inputs, custom_layers=custom_layers)
        if not files.rename_new(stage, path):
            raise ValueError(
                f"`path` must not exist. Received: `{path}`, made just now by another process."
            )
    files.sync_directory(path.parent)


def write_inference(
    model: keras.Model,
    directory: Path,
    *,
    inputs: Inputs = None,
    custom_layers: Collection[str] = (),
) -> None:
    """Fills an empty directory as `save_for_inference` does."""
    scorer = scorer_of(model, inputs)
    require_stock(keras.saving.serialize_keras_object(scorer), custom_layers)
    scorer.save(directory / MODEL)
    about = {
        "inputs": [_described(tensor) for tensor in scorer.inputs],
        "outputs": [_described(tensor) for tensor in scorer.outputs],
        "custom_layers": sorted(custom_layers),
        "keras": keras.__version__,
    }
    manifest.seal(directory, KIND, about)


def load_for_inference(
    path: str | os.PathLike[str], *, custom_objects: Mapping[str, Any] | None = None
) -> keras.Model:
    """Loads what `save_for_inference` wrote, after checking that it is unchanged.

    The SHA-256 of every file, the members of the archive and the classes in it are
    checked before Keras parses anything.

    Args:
        path: The directory.
        custom_objects: Classes by name, for `custom_layers` of the save. Default: none.

    Returns:
        The network, a stock Keras model that is not compiled.

    Raises:
        ValueError: For anything else than an unchanged directory of `save_for_inference`:
            an `.h5` file, a pickle, a bare `.keras` file, a damaged or foreign archive.

    Example:

    >>> import tempfile
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    >>> path = Path(tempfile.mkdtemp()) / "scorer"
    >>> save_for_inference(model, path)
    >>> x = np.ones((2, 3))
    >>> bool(np.all(load_for_inference(path)(x) == model(x)))
    True
    """
    path = Path(path)
    if path.is_file():
        raise ValueError(
            "`path` must be a directory that `save_for_inference` wrote, with the SHA-256 "
            f"of its files. Received: the file `{path.name}`, which is not opened: HDF5, "
            "pickles and bare archives can hold code. Load it where you trust it, and "
            "save it with `save_for_inference`."
        )
    about = manifest.verify(path, KIND)["about"]
    fields.require(about, {"custom_layers": fields.list_of(fields.TEXT)}, path)
    allowed = about["custom_layers"]
    if set(_listed(path)) != {MODEL}:
        raise ValueError(
            f"`{path}` must hold `{MODEL}` alone. Received: {sorted(_listed(path))}."
        )
    require_stock(_checked_config(path / MODEL), allowed)
    try:
        return keras.saving.load_model(
            path / MODEL,
            custom_objects=dict(custom_objects or {}),
            compile=False,
            safe_mode=True,
        )
    except (AttributeError, KeyError, OSError, TypeError) as error:  # ValueError it is already
        raise ValueError(
            f"`{path / MODEL}` must be a model that Keras can load. Received: a "
            f"{type(error).__name__} of Keras. Pass `custom_objects` with the layers that "
            f"are not Keras's, {allowed}; if it has them, take another version."
        ) from error


def _checked_config(archive: Path) -> Any:
    """The config of a `.keras` archive whose members are those that Keras writes."""
    if not zipfile.is_zipfile(archive):
        raise ValueError(f"`{archive}` must be a `.keras` archive. Received: no zip file.")
    with zipfile.ZipFile(archive) as opened:
        for member in opened.infolist():
            parts = PurePosixPath(member.filename.replace("\\", "/")).parts
            safe = member.filename in _MEMBERS or parts[:1] == ("assets",)
            if not safe or ".." in parts:
                raise ValueError(
                    f"`{archive}` must hold what Keras writes. Received: the member "
                    f"{member.filename!r}. It is not opened."
                )
            if member.file_size > 100 * max(member.compress_size, 1) + 10**6:
                raise ValueError(
                    f"`{archive}` must not unpack to much more than it holds. Received: "
                    f"{member.filename!r} of {member.file_size} bytes. It is not opened."
                )
        try:
            return json.loads(opened.read("config.json"))
        except (KeyError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
            raise ValueError(
                f"`{archive}` must hold a readable `config.json`. Received: "
                f"{type(error).__name__}: {error}."
            ) from error


def _listed(path: Path) -> list[str]:
    return list(manifest.read(path, KIND)["files"])


def _described(tensor: keras.KerasTensor) -> dict[str, Any]:
    return {"name": tensor.name, "shape": list(tensor.shape), "dtype": str(tensor.dtype)}
