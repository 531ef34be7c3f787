"""`export_serving`: the scorer for other runtimes, each file tried out in its own."""

from __future__ import annotations

import importlib
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from keras_trainsteps.rolling.artifacts.scorer import Inputs, scorer_of
from keras_trainsteps.rolling.disk import files

Batch = Mapping[str, npt.NDArray[Any]]


def export_serving(
    model: keras.Model,
    directory: str | os.PathLike[str],
    formats: Sequence[str] = ("saved_model",),
    *,
    inputs: Inputs = None,
    golden: Batch | None = None,
    tolerance: float = 1e-5,
) -> dict[str, Path]:
    """Exports the network of a model for servers without Keras.

    Inputs and outputs have the names that the network gives them. Each file is opened
    again in its own runtime (TensorFlow, LiteRT, onnxruntime) and run on a golden batch;
    when it fails or differs from the model, nothing is left behind.

    Args:
        model: A built model: Functional, Sequential, or one that defines `call`.
        directory: The directory to write, which must not exist.
        formats: Of `"saved_model"`, `"litert"` and `"onnx"`. The last two need the extra
            `keras-trainsteps[export]`.
        inputs: For a model that defines `call`: the structure of `keras.Input` that
            `call` takes, side inputs left out.
        golden: A batch by input name. Default: three rows drawn at random; for inputs
            that are strings or integers a batch must be given.
        tolerance: The largest difference allowed, relative to the largest output (or 1).

    Returns:
        The path of each format.

    Raises:
        ImportError: When a format needs the extra and it is not installed.
        ValueError: For an unknown format, an existing directory, a missing golden batch;
            when a file does not run in its runtime or differs, with the reason.

    Example:

    >>> import tempfile
    >>> inputs = keras.Input((3,), name="features")
    >>> model = keras.Model(inputs, keras.layers.Dense(1, name="score")(inputs))
    >>> paths = export_serving(model, Path(tempfile.mkdtemp()) / "served")
    >>> served = tf.saved_model.load(paths["saved_model"]).signatures["serving_default"]
    >>> list(served(features=tf.ones((2, 3))))
    ['score']
    """
    directory = Path(directory)
    if unknown := [name for name in formats if name not in _FORMATS]:
        raise ValueError(f"`formats` must be of {sorted(_FORMATS)}. Received: {unknown}.")
    if directory.exists():
        raise ValueError(
            f"`directory` must not exist: nothing is overwritten. Received: `{directory}`."
        )
    for name in formats:
        _require_runtime(name)
    served = _named(scorer_of(model, inputs))
    batch = _golden(served, golden)
    directory.parent.mkdir(parents=True, exist_ok=True)
    with files.stage(directory.parent.resolve()) as stage:
        for name in formats:
            export_format(served, stage / _FILES[name], name, batch, tolerance)
        files.sync_tree(stage)
        if not files.rename_new(stage, directory):
            raise ValueError(f"`directory` must not exist. Received: `{directory}`.")
    files.sync_directory(directory.parent)
    return {name: directory / _FILES[name] for name in formats}


def export_saved_model(
    model: keras.Model, directory: Path, *, inputs: Inputs = None, golden: Batch | None = None
) -> None:
    """Fills a directory with a SavedModel, tried out as by `export_serving`."""
    served = _named(scorer_of(model, inputs))
    export_format(served, directory, "saved_model", _golden(served, golden), 1e-5)


def export_format(
    served: keras.Model, path: Path, name: str, batch: Batch, tolerance: float
) -> None:
    """Writes one format and tries it out; deletes it when it fails."""
    expected = _arrays(served({k: tf.constant(v) for k, v in batch.items()}))
    write, run = _FORMATS[name]
    try:
        write(served, path)
        received = run(path, batch)
        _require_equal(expected, received, tolerance)
    except Exception as error:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise  # the disk, not the network
        raise ValueError(
            f"The network must run in the runtime of {name!r} as it does in Keras. "
            f"Received: {type(error).__name__}: {str(error)[:600]}. The file was deleted; "
            "leave the format out, or use layers that it supports."
        ) from error


def _named(scorer: keras.Model) -> keras.Model:
    """The scorer with dicts for inputs and outputs, by name."""
    outputs, sequential = scorer.outputs, isinstance(scorer, keras.Sequential)
    names = [scorer.layers[-1].name] if sequential else scorer.output_names
    if not sequential and isinstance(scorer.output, Mapping):
        flat = keras.tree.flatten_with_path(scorer.output)
        names = ["/".join(map(str, path)) for path, _ in flat]
    elif len(names) != len(outputs) or len(set(names)) != len(names):
        names = [f"output_{index}" for index in range(len(outputs))]
    return keras.Model(
        {tensor.name: tensor for tensor in scorer.inputs},
        dict(zip(names, outputs, strict=True)),
        name=scorer.name,
    )


def _specs(served: keras.Model) -> dict[str, tf.TensorSpec]:
    return {
        name: tf.TensorSpec((None, *tensor.shape[1:]), tensor.dtype, name)
        for name, tensor in served.input.items()
    }


def _golden(served: keras.Model, golden: Batch | None) -> dict[str, npt.NDArray[Any]]:
    specs = _specs(served)
    if golden is not None:
        if set(golden) != set(specs):
            raise ValueError(
                f"`golden` must have the inputs of the network, {sorted(specs)}. "
                f"Received: {sorted(golden)}."
            )
        return {name: _typed(golden[name], spec) for name, spec in specs.items()}
    generator = np.random.default_rng(0)
    batch = {}
    for name, spec in specs.items():
        if not spec.dtype.is_floating or None in spec.shape[1:]:
            raise ValueError(
                f"`golden` must be given for the input {name!r} of dtype "
                f"{spec.dtype.name} and shape {tuple(spec.shape)}: what it may hold is not "
                "known. Received: none. Pass a few rows of real data."
            )
        drawn = generator.standard_normal((3, *spec.shape[1:]))
        batch[name] = drawn.astype(spec.dtype.as_numpy_dtype)
    return batch


def _typed(values: Any, spec: tf.TensorSpec) -> npt.NDArray[Any]:
    if spec.dtype == tf.string:
        return np.asarray(values, dtype=object)
    return np.asarray(values).astype(spec.dtype.as_numpy_dtype)


def _write_saved_model(served: keras.Model, path: Path) -> None:
    archive = keras.export.ExportArchive()
    archive.track(served)
    archive.add_endpoint(
        "serve", lambda batch: served(batch, training=False), input_signature=[_specs(served)]
    )
    archive.write_out(str(path), verbose=False)


def _run_saved_model(path: Path, batch: Batch) -> Batch:
    signature = tf.saved_model.load(str(path)).signatures["serving_default"]
    return _arrays(signature(**{name: tf.constant(rows) for name, rows in batch.items()}))


def _write_litert(served: keras.Model, path: Path) -> None:
    served.export(str(path), format="litert", input_signature=[_specs(served)], verbose=False)


def _run_litert(path: Path, batch: Batch) -> Batch:
    interpreter = _require_runtime("litert").Interpreter(model_path=str(path))
    runner = interpreter.get_signature_runner("serving_default")
    return _arrays(runner(**batch))


def _write_onnx(served: keras.Model, path: Path) -> None:
    tf2onnx = importlib.import_module("tf2onnx")
    specs = list(_specs(served).values())

    def serve(*tensors: tf.Tensor) -> Any:
        named = zip(served.input, tensors, strict=True)
        return served(dict(named), training=False)

    function = tf.function(serve, input_signature=specs, autograph=False)
    tf2onnx.convert.from_function(function, specs, output_path=str(path))


def _run_onnx(path: Path, batch: Batch) -> Batch:
    runtime = _require_runtime("onnx")
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(batch)), strict=True))


def _require_runtime(name: str) -> Any:
    needed = {
        "saved_model": ("tensorflow",),
        "litert": ("ai_edge_litert.interpreter",),
        "onnx": ("onnx", "tf2onnx", "onnxruntime"),
    }[name]
    try:
        return [importlib.import_module(module) for module in needed][-1]
    except ImportError as error:
        raise ImportError(
            f"Format {name!r} needs packages that are not installed: {error}. Install "
            "`keras-trainsteps[export]`."
        ) from error


def _arrays(outputs: Mapping[str, Any]) -> dict[str, npt.NDArray[Any]]:
    return {name: np.asarray(value) for name, value in outputs.items()}


def _require_equal(expected: Batch, received: Batch, tolerance: float) -> None:
    if set(expected) != set(received):
        raise ValueError(f"outputs {sorted(received)} instead of {sorted(expected)}")
    for name, value in expected.items():
        if received[name].shape != value.shape:
            raise ValueError(
                f"output {name!r} has shape {received[name].shape}, not {value.shape}"
            )
        difference = np.abs(received[name].astype("float64") - value.astype("float64"))
        scale = max(1.0, float(np.abs(value).max(initial=0.0)))
        if not np.all(difference <= tolerance * scale):
            raise ValueError(
                f"output {name!r} differs by {difference.max():.3g} on the golden batch, "
                f"more than {tolerance * scale:.3g}"
            )


_FORMATS: dict[
    str, tuple[Callable[[keras.Model, Path], None], Callable[[Path, Batch], Batch]]
] = {
    "saved_model": (_write_saved_model, _run_saved_model),
    "litert": (_write_litert, _run_litert),
    "onnx": (_write_onnx, _run_onnx),
}
_FILES = {"saved_model": "saved_model", "litert": "model.tflite", "onnx": "model.onnx"}
