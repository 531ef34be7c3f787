"""What callbacks remember: best values, patience, history."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import keras
import numpy as np

from keras_trainsteps.rolling.disk.arrays import Arrays

# Not all of `vars`: `ReduceLROnPlateau` negates its `min_delta` in place on first use
# (seen in 3.15.1), and to restore it would negate it twice.
_REMEMBERED: dict[type[keras.callbacks.Callback], tuple[str, ...]] = {
    keras.callbacks.EarlyStopping: ("best", "wait", "best_epoch", "stopped_epoch"),
    keras.callbacks.ReduceLROnPlateau: ("best", "wait", "cooldown_counter"),
    keras.callbacks.ModelCheckpoint: ("best", "_current_epoch", "_last_batch_seen"),
}
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


def callbacks_of_fit() -> list[keras.callbacks.Callback]:
    """The callbacks of the running `fit`, called from `on_train_begin` of one of them.

    Keras does not tell a callback of the others (seen in 3.15.1).
    """
    frame = inspect.currentframe()
    while frame is not None:
        owner = frame.f_locals.get("self")
        if isinstance(owner, keras.callbacks.CallbackList):
            return list(owner.callbacks)
        frame = frame.f_back
    raise ValueError(
        "`ResumableCheckpoint` must be one of the `callbacks` of `fit`. "
        "Received: a call from elsewhere."
    )


def require_resumable(
    callbacks: Sequence[keras.callbacks.Callback],
    own: keras.callbacks.Callback,
    stateless: tuple[type[keras.callbacks.Callback], ...],
) -> None:
    """Refuses callbacks whose state is not known, and such as come after `own`."""
    place = next(i for i, callback in enumerate(callbacks) if callback is own)
    automatic = (keras.callbacks.History, keras.callbacks.ProgbarLogger)
    late = [c for c in callbacks[place + 1 :] if not isinstance(c, automatic)]
    if late:
        raise ValueError(
            "`ResumableCheckpoint` must be the last of `callbacks`, so that it saves what "
            f"the others decided. Received: {type(late[0]).__name__} after it."
        )
    known = (*_REMEMBERED, *_STATELESS, *stateless, type(own))
    for callback in callbacks:
        if not isinstance(callback, known) and not isinstance(callback, StatefulCallback):
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
        state: dict[str, Any] = {}
        for kind, names in _REMEMBERED.items():
            if isinstance(callback, kind):
                state = {name: _plain(getattr(callback, name, None)) for name in names}
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
