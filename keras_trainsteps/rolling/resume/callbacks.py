"""What callbacks remember: best values, patience, best weights, the lines of a log."""

from __future__ import annotations

import inspect
import io
import types
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import keras
import numpy as np

from keras_trainsteps import compat
from keras_trainsteps.rolling.disk.arrays import Arrays
from keras_trainsteps.rolling.resume import csv_log
from keras_trainsteps.rolling.resume.code import Descriptions
from keras_trainsteps.rolling.resume.functions import outside_of, rebinds

# What decides what a callback of Keras does: options that a resumed job must share.
_OPTIONS: dict[type[keras.callbacks.Callback], tuple[str, ...]] = {
    keras.callbacks.CSVLogger: ("sep", "append"),
    keras.callbacks.EarlyStopping: (
        *("monitor", "mode", "min_delta", "patience", "baseline"),
        *("restore_best_weights", "start_from_epoch"),
    ),
    keras.callbacks.History: (),
    keras.callbacks.LambdaCallback: (),
    keras.callbacks.LearningRateScheduler: ("schedule",),
    keras.callbacks.ModelCheckpoint: (
        *("monitor", "mode", "save_best_only", "save_weights_only", "save_freq"),
    ),
    keras.callbacks.ProgbarLogger: (),
    keras.callbacks.ReduceLROnPlateau: (
        *("monitor", "mode", "min_delta", "patience", "factor", "cooldown", "min_lr"),
    ),
    keras.callbacks.RemoteMonitor: (),
    keras.callbacks.TensorBoard: (),
    keras.callbacks.TerminateOnNaN: (),
}
_BEST = "best_weights"


@runtime_checkable
class StatefulCallback(Protocol):
    """A callback of one's own that can be resumed: its state is JSON values."""

    def get_state(self) -> dict[str, Any]:
        """What it remembers."""

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes on from there."""


@runtime_checkable
class Wrapper(Protocol):
    """A callback that has another one act on an objective, as `ForObjective`."""

    objective: str
    callback: keras.callbacks.Callback


def require_resumable(
    callbacks: Sequence[keras.callbacks.Callback],
    stateless: Sequence[type[keras.callbacks.Callback]],
) -> None:
    """Refuses callbacks whose state is not known."""
    for callback in callbacks:
        if isinstance(callback, (StatefulCallback, *stateless)):
            continue
        name = type(callback).__name__
        way_out = (
            "Give it `get_state()` and `set_state(state)`, or, if it remembers nothing, name "
            "its class in `stateless`."
        )
        if type(callback) not in _OPTIONS:
            of = next((kind.__name__ for kind in _OPTIONS if isinstance(callback, kind)), None)
            unknown = f"nothing but what it has of {of}" if of else "nothing"
            raise ValueError(
                "Every callback must be one that can be resumed. Received: "
                f"{name}, of which {unknown} is known. {way_out}"
            )
        for function in functions_of(callback):
            if reason := _keeps(function):
                raise ValueError(
                    "Every callback must be one that can be resumed. Received: a "
                    f"{name} whose function {reason}, which would not be restored. Make it "
                    "a callback of its own class, with `get_state()` and "
                    "`set_state(state)`; or, if nothing of it matters, name "
                    f"`keras.callbacks.{name}` in `stateless`."
                )


def without_wrappers(
    callbacks: Sequence[keras.callbacks.Callback],
) -> list[keras.callbacks.Callback]:
    """The callbacks that remember: what has another one act does not."""
    return [each.callback if isinstance(each, Wrapper) else each for each in callbacks]


def options_of(
    callback: keras.callbacks.Callback,
    stateless: Sequence[type[keras.callbacks.Callback]],
    found: Descriptions,
) -> dict[str, Any]:
    """What a resumed job must share of a callback: its class, code and options."""
    if isinstance(callback, Wrapper):
        inner = options_of(callback.callback, stateless, found)
        return {"objective": callback.objective, **inner}
    kind = type(callback)
    if isinstance(callback, tuple(stateless)):
        return {"class": kind.__qualname__}
    names = next((_OPTIONS[base] for base in kind.__mro__ if base in _OPTIONS), None)
    if names is None:
        state = callback.get_state() if isinstance(callback, StatefulCallback) else {}
        given = inspect.signature(kind.__init__).parameters
        names = tuple(name for name in given if name in vars(callback) and name not in state)
    options = {name: getattr(callback, name) for name in names}
    if "min_delta" in options:  # Keras negates it in place, in a mode of small values
        options["min_delta"] = abs(options["min_delta"])
    if isinstance(callback, keras.callbacks.LambdaCallback):
        options["functions"] = functions_of(callback)
    return {**found.of(kind), "options": found.of(options)}


class Unchanged:
    """What the functions of callbacks hold must stay: nothing saves it.

    Args:
        callbacks: Those of the job.
        stateless: Classes of callbacks of which nothing matters.
    """

    def __init__(
        self,
        callbacks: Sequence[keras.callbacks.Callback],
        stateless: Sequence[type[keras.callbacks.Callback]],
    ) -> None:
        self._functions = [
            (type(callback).__name__, function)
            for callback in callbacks
            if not isinstance(callback, tuple(stateless))
            for function in functions_of(callback)
        ]
        self._begin = self._now()

    def require(self) -> None:
        """Refuses to go on when a function of a callback has changed what it holds.

        Raises:
            ValueError: For the first function that did.
        """
        for (name, function), before, now in zip(
            self._functions, self._begin, self._now(), strict=True
        ):
            if before != now:
                raise ValueError(
                    "Every callback must be one that can be resumed. Received: a "
                    f"{name} whose function {function.__qualname__!r} changes what it holds "
                    f"of {sorted(outside_of(function))}, which is not saved with the job. "
                    "Make it a callback of its own class, with `get_state()` and "
                    "`set_state(state)`; or, if nothing of it matters, name "
                    f"`keras.callbacks.{name}` in `stateless`."
                )

    def _now(self) -> list[Any]:
        return [Descriptions(rates=False).of(function) for _, function in self._functions]


def functions_of(callback: keras.callbacks.Callback) -> list[types.FunctionType]:
    """The functions that a callback of Keras was made of."""
    if isinstance(callback, keras.callbacks.LearningRateScheduler):
        given = [callback.schedule]
    elif isinstance(callback, keras.callbacks.LambdaCallback):
        given = [value for _, value in sorted(vars(callback).items()) if callable(value)]
    else:
        given = []
    return [each for each in given if isinstance(each, types.FunctionType)]


def save_callbacks(
    callbacks: Sequence[keras.callbacks.Callback],
) -> tuple[list[dict[str, Any]], Arrays]:
    """What the callbacks remember, as JSON values, and the best weights they keep."""
    states: list[dict[str, Any]] = []
    kept: Arrays = {}
    for index, callback in enumerate(callbacks):
        names = compat.remembered_by(callback) or ()
        state: dict[str, Any] = {name: _plain(getattr(callback, name, None)) for name in names}
        if isinstance(callback, StatefulCallback):
            state["own"] = callback.get_state()
        if isinstance(callback, keras.callbacks.CSVLogger):
            state["log"] = csv_log.save(callback)
        best = getattr(callback, _BEST, None)
        if best is not None:
            state[_BEST] = len(best)
            kept |= {f"callback|{index}|{i}": np.asarray(v) for i, v in enumerate(best)}
        states.append({"class": type(callback).__name__, "state": state})
    return states, kept


def restore_callbacks(
    callbacks: Sequence[keras.callbacks.Callback],
    states: Sequence[dict[str, Any]],
    kept: Arrays,
) -> None:
    """Makes callbacks remember what they did."""
    for index, (callback, saved) in enumerate(zip(callbacks, states, strict=True)):
        state = dict(saved["state"])
        count, own = state.pop(_BEST, None), state.pop("own", None)
        if (log := state.pop("log", None)) is not None:
            csv_log.restore(callback, log)
        for name, value in state.items():
            setattr(callback, name, value)
        if count is not None:
            best = [kept[f"callback|{index}|{i}"] for i in range(count)]
            setattr(callback, _BEST, best)
        if own is not None and isinstance(callback, StatefulCallback):
            callback.set_state(own)


def _keeps(function: types.FunctionType) -> str | None:
    """How a function remembers something, where that can be told from its code."""
    if names := rebinds(function):
        return f"{function.__qualname__!r} counts in {names[0]!r}"
    for name, value in outside_of(function).items():
        if isinstance(value, io.IOBase):
            return f"{function.__qualname__!r} writes to the file {name!r}"
    return None


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic | np.ndarray) else value
