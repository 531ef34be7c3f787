"""SIGTERM as a wish to stop after the running step, while a model is being fitted."""

from __future__ import annotations

import os
import signal
import threading
import weakref
from types import FrameType
from typing import Any

import keras

EXIT_STATUS = 128 + signal.SIGTERM


class Sigterm:
    """Remembers that SIGTERM came during `fit`.

    Signals can only be watched for from the main thread; elsewhere it sees none. One that
    comes when `fit` has been left by an exception does what it did before.
    """

    def __init__(self) -> None:
        self.received = False
        self._model: weakref.ref[keras.Model] | None = None
        self._old_handler: Any = None

    def watch(self, model: keras.Model) -> None:
        """Begins to watch, while `model` is fitted."""
        self.unwatch()
        self.received, self._model = False, weakref.ref(model)
        if threading.current_thread() is threading.main_thread():
            self._old_handler = signal.signal(signal.SIGTERM, self._on_signal)

    def unwatch(self) -> None:
        """Puts the handler back that was there before."""
        if self._old_handler is not None:
            signal.signal(signal.SIGTERM, self._old_handler)
            self._old_handler = None

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._is_in_fit(frame):
            self.received = True
        else:
            self.unwatch()
            os.kill(os.getpid(), number)

    def _is_in_fit(self, frame: FrameType | None) -> bool:
        """Whether `fit` is running: Keras does not say when an exception has ended it."""
        model = None if self._model is None else self._model()
        while frame is not None:
            if frame.f_code.co_name == "fit" and frame.f_locals.get("self") is model:
                return model is not None
            frame = frame.f_back
        return False
