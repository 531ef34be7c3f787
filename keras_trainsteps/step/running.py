"""The batch whose step is running: what losses and metrics read of it without being handed it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any

import tensorflow as tf

_thread = threading.local()  # replicas run in threads of their own


class Running:
    """A step that is being traced or run, while the context is entered.

    The step around it goes on afterwards. A step of the library inside one that a subclass
    wrote is noted there.

    Args:
        x: The `x` of its batch, side inputs included.
        rows: Gives the number of rows of the batch, told its output.
        owner: Whose step it is: the log of a model.
        by_hand: Whether a subclass wrote the step itself.
        num_replicas: How many replicas run it in parallel.
        inside: What else is entered with it.

    Attributes:
        y_pred: Output of the network, once it is there.
        called: What of the library a step written by hand has called so far.
        counted: The terms in its loss that have a count of their own.
        computed: The losses that a subclass's `compute_loss` has taken from the library's.
    """

    def __init__(
        self,
        x: Any,
        rows: Callable[[Any], tf.Tensor] | None = None,
        owner: Any = None,
        by_hand: bool = False,
        num_replicas: int = 1,
        inside: contextlib.AbstractContextManager[Any] | None = None,
    ) -> None:
        self.x, self.rows, self.owner, self.by_hand = x, rows, owner, by_hand
        self.num_replicas = num_replicas
        self.y_pred: Any = None
        self.called: set[str] = set()
        self.counted: tuple[str, ...] = ()
        self.computed: list[Any] = []
        self._inside = inside or contextlib.nullcontext()

    def __enter__(self) -> Running:
        self._inside.__enter__()
        self._around: Running | None = getattr(_thread, "step", None)
        if self._around is not None and self._around.owner is self.owner:
            self._around.called.add("step")
        _thread.step = self
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _thread.step = self._around
        self._inside.__exit__(kind, error, traceback)


def current(owner: Any = None) -> Running | None:
    """The step that runs, of any model or of the one that `owner` stands for."""
    found: Running | None = getattr(_thread, "step", None)
    return found if owner is None or (found is not None and found.owner is owner) else None
