"""What callbacks remember: best values, patience, best weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import keras
import numpy as np

from keras_trainsteps import compat
from keras_trainsteps.rolling.disk.arrays import Arrays

_STATELESS = (
    keras.callbacks.CSVLogger,
    keras.callbacks.History,
    keras.callbacks.LambdaCallback,
    keras.callbacks.LearningRateScheduler,
    keras.callbacks.ProgbarLogger,
    keras.callbacks.RemoteMonitor,
    keras.callbacks.TensorBoard,
    keras.callbacks.TerminateOnNaN,
)
_BEST = "best_weights"


@runtime_checkable
class StatefulCallback(Protocol):
    """A callback of one's own that can be resumed: its state is JSON values."""

    def get_state(self) -> dict[str, Any]:
        """What it remembers."""

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes on from there."""


def require_resumable(
    callbacks: Sequence[keras.callbacks.Callback],
    stateless: Sequence[type[keras.callbacks.Callback]],
) -> None:
    """Refuses callbacks whose state is not known."""
    known = (*_STATELESS, *stateless)
    for callback in callbacks:
        if (
            not isinstance(callback, known)
            and not isinstance(callback, StatefulCallback)
            and compat.remembered_by(callback) is None
        ):
            raise ValueError(
                "Every callback must be one that can be resumed. Received: "
                f"{type(callback).__name__}, of which nothing is known. Give it "
                "`get_state()` and `set_state(state)`, or, if it remembers nothing, name "
                "its class in `stateless`."
            )


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
    """Makes callbacks remember what they did.

    Raises:
        ValueError: When they are not the callbacks of the saved job.
    """
    names = [type(callback).__name__ for callback in callbacks]
    if names != [state["class"] for state in states]:
        raise ValueError(
            "`callbacks` must be those of the job that is resumed. Received: "
            f"{names} instead of {[state['class'] for state in states]}."
        )
    for index, (callback, saved) in enumerate(zip(callbacks, states, strict=True)):
        state = dict(saved["state"])
        count, own = state.pop(_BEST, None), state.pop("own", None)
        for name, value in state.items():
            setattr(callback, name, value)
        if count is not None:
            best = [kept[f"callback|{index}|{i}"] for i in range(count)]
            setattr(callback, _BEST, best)
        if own is not None and isinstance(callback, StatefulCallback):
            callback.set_state(own)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic | np.ndarray) else value
