"""What a function does, and what it reads of the scopes around it."""

from __future__ import annotations

import dis
import sys
import types
from collections.abc import Iterator
from typing import Any

# Their code is fixed by their version, as that of Python's own modules is.
_LIBRARIES = ("keras", "keras_trainsteps", "numpy", "tensorflow")


def is_library(module: str | None) -> bool:
    """Whether the code of a module is fixed by its version."""
    root = (module or "builtins").split(".")[0]
    return root in _LIBRARIES or root in sys.stdlib_module_names


def rebinds(function: types.FunctionType) -> list[str]:
    """The names outside of a function that it gives other values."""
    return [
        str(step.argval)
        for step in dis.get_instructions(function.__code__)
        if step.opname == "STORE_GLOBAL"
        or (step.opname == "STORE_DEREF" and step.argval in function.__code__.co_freevars)
    ]


def outside_of(function: types.FunctionType) -> dict[str, Any]:
    """What a function reads of the scopes around it, by name."""
    return {**dict(reads(function)), **dict(closure_of(function))}


def reads(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    """The globals that a function reads, those of user modules by what it takes of them."""
    for code in _codes(function.__code__):
        steps = [s for s in dis.get_instructions(code) if s.opname not in ("CACHE", "PRECALL")]
        for step, after in zip(steps, [*steps[1:], None], strict=True):
            if step.opname not in ("LOAD_GLOBAL", "LOAD_NAME"):
                continue
            name = str(step.argval)
            if name not in function.__globals__:
                continue
            value = function.__globals__[name]
            if isinstance(value, types.ModuleType) and not is_library(value.__name__):
                taken = after is not None and after.opname in ("LOAD_ATTR", "LOAD_METHOD")
                if after is not None and taken and after.argval in vars(value):
                    name = f"{name}.{after.argval}"
                    value = vars(value)[after.argval]
            yield name, value


def closure_of(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    """What a function reads of the functions around it, by name."""
    names = function.__code__.co_freevars
    for name, cell in zip(names, function.__closure__ or (), strict=True):
        if name != "__class__":
            try:
                yield name, cell.cell_contents
            except ValueError:
                continue  # it has no value yet


def bytecode(code: types.CodeType, doc: str | None = None) -> list[Any]:
    """A function's code without its place in a file."""
    constants = [
        bytecode(constant) if isinstance(constant, types.CodeType) else _constant(constant)
        for constant in code.co_consts
        if doc is None or constant != doc
    ]
    return [code.co_code.hex(), constants, list(code.co_names), list(code.co_varnames)]


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """A function's code and that of the functions inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


def _constant(value: Any) -> str:
    return str(sorted(map(repr, value))) if isinstance(value, frozenset) else repr(value)
