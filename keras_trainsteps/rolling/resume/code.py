"""What functions and objects compute, as JSON values that are the same in every process."""

from __future__ import annotations

import functools
import hashlib
import json
import math
import os
import types
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from keras_trainsteps import compat
from keras_trainsteps.rolling.resume.functions import bytecode, closure_of, is_library, reads
from keras_trainsteps.structure.names import is_automatic

_OF_PYTHON = ("__module__", "__doc__", "__dict__", "__weakref__", "__annotations__")
_DEPTH = 30


def described(value: Any) -> Any:
    """What a value is, as JSON: two are equal where the values compute the same.

    Of a function that is its bytecode, its defaults, and what it reads of the scopes around
    it; of a class its methods; of an object its class and attributes. Values of variables
    are left out: they are state.

    Example:

    >>> def scaled(alpha):
    ...     return lambda y_true, y_pred: alpha * (y_true - y_pred)
    >>> described(scaled(0.5)) == described(scaled(0.5))
    True
    >>> described(scaled(0.5)) == described(scaled(0.3))
    False
    """
    return Descriptions().of(value)


def own_attributes(owner: object) -> dict[str, Any]:
    """The options among the attributes that a user's class gives an object."""
    stock = compat.stock_attributes()
    return {n: v for n, v in sorted(vars(owner).items()) if n not in stock and _is_option(v)}


def learning_rate_of(optimizer: keras.optimizers.Optimizer) -> float:
    """The learning rate as it is written: that of an optimizer is a float32."""
    return float(str(np.float32(optimizer.learning_rate)))


class Descriptions:
    """Describes values, each function and class once.

    Args:
        rates: Whether with the learning rates of optimizers, which callbacks change.

    Attributes:
        variables: The variables that were met.
    """

    def __init__(self, *, rates: bool = True) -> None:
        self._rates = rates
        self.variables: list[Any] = []
        self._known: dict[int, tuple[Any, Any]] = {}  # with the value, so that its id stays

    def of(self, value: Any, depth: int = 0) -> Any:
        """As `described`."""
        if value is None or isinstance(value, bool | int | str):
            return value
        if isinstance(value, float):
            return value if math.isfinite(value) else repr(value)
        if isinstance(value, np.generic):
            return self.of(value.item())
        if isinstance(value, bytes):
            return {"sha256": hashlib.sha256(value).hexdigest()}
        if isinstance(value, os.PathLike):
            return os.fspath(value)
        if isinstance(value, np.ndarray):
            return _of_array(value)
        if isinstance(value, keras.Variable | tf.Variable):
            self.variables.append(value)
            return {"variable": [list(value.shape), keras.backend.standardize_dtype(value.dtype)]}
        if tf.is_tensor(value):
            eager = hasattr(value, "numpy")
            return self.of(value.numpy()) if eager else {"tensor": str(value.shape)}
        if isinstance(value, types.ModuleType):
            return {"module": value.__name__}
        if depth > _DEPTH:
            return f"a {type(value).__name__}"
        if isinstance(value, Mapping):
            return {str(key): self.of(value[key], depth + 1) for key in sorted(value, key=str)}
        if isinstance(value, list | tuple):
            return [self.of(item, depth + 1) for item in value]
        if isinstance(value, set | frozenset):
            return sorted((self.of(item, depth + 1) for item in value), key=json.dumps)
        if hasattr(value, "__array__") and not isinstance(value, type):
            return self.of(np.asarray(value))
        return self._once(value, depth)

    def _once(self, value: Any, depth: int) -> Any:
        """What may refer to itself."""
        if id(value) not in self._known:
            self._known[id(value)] = value, "(itself)"
            if isinstance(value, type):
                found = self._of_class(value, depth)
            elif callable(getattr(value, "python_function", None)):  # a `tf.function`
                found = self.of(value.python_function, depth + 1)
            elif isinstance(value, functools.partial):
                parts = {"partial": value.func, "args": value.args, "keywords": value.keywords}
                found = self.of(parts, depth + 1)
            elif isinstance(value, types.MethodType):
                found = self.of({"method": value.__func__, "of": value.__self__}, depth + 1)
            elif isinstance(value, types.FunctionType):
                found = self._of_function(value, depth)
            elif isinstance(value, types.BuiltinFunctionType | np.ufunc):
                found = {"function": f"{getattr(value, '__module__', '')}.{value.__name__}"}
            else:
                found = self._of_object(value, depth)
            self._known[id(value)] = value, found
        return self._known[id(value)][1]

    def _of_function(self, function: types.FunctionType, depth: int) -> dict[str, Any]:
        library = is_library(function.__module__)
        module = f"{function.__module__}." if library else ""
        found: dict[str, Any] = {"function": module + function.__qualname__}
        if not library:
            code = [bytecode(function.__code__, function.__doc__)]
            outside = {name: self.of(v, depth + 1) for name, v in reads(function)}
            found["code"] = _digest([code, outside])
        defaults = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).items()]
        if defaults:
            found["defaults"] = self.of(defaults, depth + 1)
        if closure := dict(closure_of(function)):
            found["closure"] = self.of(closure, depth + 1)
        return found

    def _of_class(self, kind: type, depth: int) -> dict[str, Any]:
        own = [base for base in kind.__mro__ if not is_library(base.__module__)]
        if not own:
            return {"class": f"{kind.__module__}.{kind.__qualname__}"}
        parts = [
            [base.__qualname__, {n: self._member(v, depth) for n, v in _members(base)}]
            for base in own
        ]
        return {"class": kind.__qualname__, "code": _digest(parts)}

    def _member(self, member: Any, depth: int) -> Any:
        if isinstance(member, staticmethod | classmethod):
            member = member.__func__
        if isinstance(member, property):
            member = [member.fget, member.fset]
        if isinstance(member, functools.cached_property):
            member = member.func
        return self.of(member, depth + 1)

    def _of_object(self, value: Any, depth: int) -> dict[str, Any]:
        kind = type(value)
        found = dict(self.of(kind, depth + 1))
        if isinstance(value, keras.random.SeedGenerator):
            self.variables.append(value.state)
        if isinstance(value, keras.Model | keras.random.SeedGenerator):
            return found  # of which the rest is state
        if isinstance(value, keras.optimizers.Optimizer):
            parts = {
                name: each
                for name, each in sorted(vars(value).items())
                if not name.startswith("_") and name not in ("built", "name") and _is_option(each)
            }
            has_rate = compat.each_optimizer(value).get("") is value
            if has_rate and "inner_optimizer" not in parts and self._rates:
                schedule = compat.learning_rate_schedule(value)
                parts["learning_rate"] = schedule or learning_rate_of(value)
        elif isinstance(value, keras.layers.Layer | keras.Metric):
            parts = without_automatic_names(_config(value), kind.__name__)
            if isinstance(value, keras.Metric):  # logs go by its name
                parts["name"] = value.name
            if not is_library(kind.__module__):
                parts |= {"attributes": own_attributes(value)}
        else:
            parts = without_automatic_names(getattr(value, "__dict__", {}), kind.__name__)
        if parts:
            found["options"] = self.of(parts, depth + 1)
        return found


def without_automatic_names(config: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """A config without the names that Keras counts through the process."""

    def strip(value: Any, kind: str) -> Any:
        if isinstance(value, Mapping):
            kind = str(value.get("class_name", kind)).split(">")[-1]
            return {
                key: strip(item, kind)
                for key, item in value.items()
                if key != "build_config"
                and not (key == "name" and isinstance(item, str) and is_automatic(item, kind))
            }
        return [strip(item, kind) for item in value] if isinstance(value, list) else value

    found: dict[str, Any] = strip(config, kind)
    return found


def _members(kind: type) -> Iterator[tuple[str, Any]]:
    for name, value in sorted(vars(kind).items()):
        if name not in _OF_PYTHON and not name.startswith("_abc_"):
            yield name, value


def _is_option(value: Any) -> bool:
    if isinstance(value, list | tuple | Mapping):
        inner = value.values() if isinstance(value, Mapping) else value
        return len(value) > 0 and all(map(_is_option, inner))
    kinds = (bool, int, float, str, np.generic, np.ndarray, types.FunctionType, functools.partial)
    objects = (keras.Loss, keras.optimizers.Optimizer, keras.Regularizer)
    return value is None or isinstance(value, (*kinds, *objects))


def _config(value: Any) -> Mapping[str, Any]:
    try:
        config: Mapping[str, Any] = value.get_config()
    except (NotImplementedError, ValueError, TypeError):
        return {}  # its attributes are compared
    return config


def _of_array(array: npt.NDArray[Any]) -> dict[str, Any]:
    if array.dtype == object:
        content = "\0".join(map(str, array.reshape(-1))).encode()
    else:
        content = np.ascontiguousarray(array).tobytes()
    digest = hashlib.sha256(content).hexdigest()
    return {"array": [list(array.shape), str(array.dtype)], "sha256": digest}


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
