"""Where things may be: which room may import which, and where Keras's private names stand."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

import keras_trainsteps

PACKAGE = Path(keras_trainsteps.__file__).parent

# A room is a module or a folder of the package. Each may import those named here and none else.
ALLOWED = {
    "compat": set(),
    "replicas": set(),
    "validation": {"compat", "step"},
    "queries": {"compat", "replicas", "validation", "step"},
    "step": {"compat", "replicas"},
    "pairs": {"compat"},
    "structure": {"compat"},
    "data": set(),
    "losses": {"compat", "replicas", "validation", "queries", "pairs", "step"},
    "metrics": {"compat", "replicas", "validation", "queries", "pairs", "step", "losses"},
    "penalties": {"step", "validation"},
    "added": {"compat", "penalties", "structure", "step"},
    "keras2": {"compat", "step"},
    "fitting": {"compat", "step"},
    "model": {"compat", "fitting", "added", "keras2", "step", "data"},
    "progress": set(),
    "plots": {"model", "metrics"},
    "rolling": {"compat", "structure", "data", "metrics", "queries", "validation"},
    "sklearn": {"data", "losses", "metrics", "model", "validation"},
    "examples": {"data", "losses", "metrics", "model", "rolling", "step"},
}
OF_STEP = {"validation": {"terms"}, "queries": {"terms", "running"}, "penalties": {"terms"}}


def modules():
    """Every module with its source."""
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path, path.read_text(encoding="utf-8")


def room_of(parts):
    return parts[0] if parts and parts[0] != "__init__" else "__init__"


def imports(path, source):
    """The modules of the package that a module imports, as tuples of names."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGE.name):
            inside = tuple(node.module.split(".")[1:])
            for alias in node.names:
                is_module = (PACKAGE.joinpath(*inside, alias.name)).is_dir() or (
                    PACKAGE.joinpath(*inside, f"{alias.name}.py")
                ).exists()
                yield (*inside, alias.name) if is_module else inside
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == PACKAGE.name:
                    yield tuple(alias.name.split(".")[1:])


def arrows():
    for path, source in modules():
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        for target in imports(path, source):
            if target and room_of(target) != room_of(parts) and room_of(parts) != "__init__":
                yield room_of(parts), target, path.relative_to(PACKAGE)


def test_rooms_import_only_what_lies_below_them():
    names = {"LossAwareModel": "model", "LossAwareSequential": "model", "LossTerm": "step"}
    forbidden = [
        f"{path}: {'.'.join(target)}"
        for room, target, path in arrows()
        if names.get(target[0], target[0]) not in ALLOWED[room]
        or (target[0] == "step" and room in OF_STEP and target[1] not in OF_STEP[room])
    ]
    assert forbidden == []


def test_the_allowed_arrows_make_no_circle():
    open_rooms = {room: set(below) for room, below in ALLOWED.items()}
    # `validation` and `queries` need the terms alone, which need nothing of them.
    open_rooms["validation"].discard("step")
    open_rooms["queries"].discard("step")
    while open_rooms:
        lowest = [room for room, below in open_rooms.items() if not below & set(open_rooms)]
        assert lowest, f"a circle among {sorted(open_rooms)}"
        for room in lowest:
            del open_rooms[room]


def test_no_two_files_import_each_other_in_a_circle():
    files = {}
    for path, source in modules():
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts[-1] != "__init__":
            files[parts] = {target for target in imports(path, source) if target != parts}
    while files:
        lowest = [name for name, below in files.items() if not below & set(files)]
        assert lowest, f"a circle among {sorted('/'.join(name) for name in files)}"
        for name in lowest:
            del files[name]


def test_there_are_few_arrows_between_rooms():
    """A reader keeps in mind what a room needs: at most 54 arrows for the whole house."""
    assert len({(room, target[0]) for room, target, _ in arrows()}) <= 54


def test_every_room_is_known():
    rooms = {room_of(path.relative_to(PACKAGE).with_suffix("").parts) for path, _ in modules()}
    assert rooms - {"__init__"} == set(ALLOWED)


def private_names_of_keras():
    """Private attributes of Keras's classes and of their instances."""
    inputs = keras.Input((1,))
    layer = keras.layers.Dense(1)
    made = [
        keras.Model(inputs, layer(inputs)),
        keras.Sequential([keras.layers.Dense(1)]),
        layer,
        keras.metrics.Mean(),
        keras.losses.MeanSquaredError(),
        keras.optimizers.Adam(),
        keras.Variable(1.0),
        inputs,
    ]
    made[0].compile("adam", loss="mse", metrics=["mae"])
    names = {name for one in made for name in (*dir(one), *vars(one))}
    names |= {"_keras_history", "_keras_mask", "_direction", "_use_cached_eval_dataset"}
    return {name for name in names if name.startswith("_") and not name.startswith("__")}


def test_private_names_of_keras_stand_in_compat_alone():
    private = private_names_of_keras()
    found = []
    for path, source in modules():
        if path.relative_to(PACKAGE).parts[0] == "compat":
            continue
        for node in ast.walk(ast.parse(source)):
            name = getattr(node, "attr", None) or getattr(node, "name", None)
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                name = node.value
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
                ("keras.src", "tensorflow.python")
            ):
                name = node.module
            if name in private or (isinstance(name, str) and name.startswith("keras.src")):
                found.append(f"{path.relative_to(PACKAGE)}:{node.lineno}: {name}")
    assert found == []


@pytest.mark.parametrize("limit", [300])
def test_files_have_one_idea(limit):
    """Longer files need a reason, which stands here."""
    reasons = {
        "model.py": "every method of Keras that works differently, once, with its page",
    }
    long = {
        path.relative_to(PACKAGE).as_posix(): lines
        for path, source in modules()
        if (lines := source.count("\n")) > limit
    }
    assert set(long) <= set(reasons), long


@pytest.mark.parametrize("backend", ["jax", "torch", "numpy"])
def test_another_backend_is_refused_before_keras_loads_it(backend):
    run = subprocess.run(
        [sys.executable, "-c", "import keras_trainsteps.data"],
        env={**os.environ, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
    )
    assert "needs the TensorFlow backend of Keras" in run.stderr
    assert f"Received: '{backend}'. Set `KERAS_BACKEND=tensorflow`" in run.stderr
