"""`TermProgress`: what `fit` prints, beginning with the loss and its terms."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

VALIDATION = "val_"


class TermProgress(keras.callbacks.Callback):
    """Shows `fit` on one line: the loss, then its terms by what they weigh, then metrics.

    Keras sorts logs by their names, so that a line begins with whatever comes first in the
    alphabet, and breaks where the terminal ends. Here `loss` comes first, then the terms by
    the size of their part in it (`weight * value`), then `regularization`, then metrics; a line
    is cut to the width of the terminal. On a terminal a bar moves within an epoch; in a pipe
    each epoch is one line. Give it to `fit(verbose=0)`, which would print its own.

    Args:
        console: Where to print, a `rich.console.Console`. Default: the standard output.

    Example:

    >>> from keras_trainsteps import LossAwareModel
    >>> class TwoTerms(LossAwareModel):
    ...     def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
    ...         return {"close": keras.ops.square(y_pred - y), "small": keras.ops.square(y_pred)}
    >>> inputs = keras.Input((1,))
    >>> model = TwoTerms(inputs, keras.layers.Dense(1, kernel_initializer="zeros")(inputs))
    >>> model.compile(keras.optimizers.SGD(0.0))
    >>> ones = np.ones((4, 1))
    >>> history = model.fit(  # doctest: +ELLIPSIS
    ...     ones, ones, verbose=0, callbacks=[TermProgress()]
    ... )
    epoch 1/1 ... s  loss 1.0000  close 1.0000  small 0.0000
    """

    def __init__(self, console: Console | None = None) -> None:
        super().__init__()
        self.console = console
        self._progress: Progress | None = None
        self._task: Any = None
        self._begin = 0.0

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        self._end()
        # Looked up now: `sys.stdout` may be another one than when this was made.
        self._to = self.console or Console(file=sys.stdout, highlight=False)

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        self._begin = time.monotonic()
        if not self._to.is_terminal:
            return
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=12),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn(
                "{task.fields[terms]}",
                table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"),
            ),
            console=self._to,
            transient=True,
        )
        self._task = self._progress.add_task(
            self._epoch(epoch), total=self.params.get("steps"), terms=""
        )
        self._progress.start()

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        if self._progress is not None:
            self._progress.update(self._task, completed=batch + 1, terms=self._line(logs or {}))

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        self._end()
        took = time.monotonic() - self._begin
        line = f"{self._epoch(epoch)}  {took:.0f} s  {self._line(logs or {})}"
        if self._to.is_terminal:
            self._to.print(line, overflow="ellipsis", no_wrap=True)
        else:
            self._to.print(line, soft_wrap=True)

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        self._end()

    def _end(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _epoch(self, epoch: int) -> str:
        return f"epoch {epoch + 1}/{self.params.get('epochs', '?')}"

    def _line(self, logs: Mapping[str, Any]) -> str:
        weights = getattr(self.model, "term_weights", {})
        shown = [f"{name} {_number(logs[name])}" for name in in_order(logs, weights)]
        return "  ".join(shown)


def in_order(logs: Mapping[str, Any], weights: Mapping[str, Any]) -> list[str]:
    """Names of logs: the loss, terms by the size of their parts, the rest; then of validation."""
    training = [name for name in logs if not name.startswith(VALIDATION)]
    validated = [name.removeprefix(VALIDATION) for name in logs if name not in training]

    def size(name: str) -> float:
        part = logs.get(f"{name}_weighted")
        if part is None:
            part = float(np.asarray(weights[name])) * float(logs[name])
        return abs(float(part))

    def sorted_names(names: list[str]) -> list[str]:
        terms = [name for name in names if name in weights and name in logs]
        first = ["loss", *sorted(terms, key=size, reverse=True), "regularization"]
        return [name for name in first if name in names] + [n for n in names if n not in first]

    return [
        *sorted_names(training),
        *(f"{VALIDATION}{name}" for name in sorted_names(validated)),
    ]


def _number(value: Any) -> str:
    number = float(np.asarray(value))
    if number == 0 or 1e-3 <= abs(number) < 1e5 or not math.isfinite(number):
        return f"{number:.4f}"
    return f"{number:.3e}"
