"""What a job does from within `fit`: it is restored, saved after steps and epochs, stopped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy.typing as npt

from keras_trainsteps.rolling.resume.batches import ResumableBatches
from keras_trainsteps.rolling.resume.callback_list import JobCallbacks
from keras_trainsteps.rolling.resume.callbacks import (
    Unchanged,
    restore_callbacks,
    save_callbacks,
)
from keras_trainsteps.rolling.resume.directory import Begin, CheckpointDirectory
from keras_trainsteps.rolling.resume.history import restore_history, save_history
from keras_trainsteps.rolling.resume.sigterm import Sigterm
from keras_trainsteps.rolling.resume.variables import (
    Variables,
    job_variables,
    restore_variables,
)
from keras_trainsteps.rolling.resume.watch import StepWatch
from keras_trainsteps.structure.structure import value_of


class _EpochIsOver:
    """Truth for `model.stop_training`: ends a resumed part of an epoch, not the training."""


class JobCheckpoint(keras.callbacks.Callback):
    """The last callback of a job: see `ResumableJob`.

    Args:
        store: The directory of the job, opened.
        begin: Where the job begins or goes on.
        batches: The batches of the job.
        callbacks: The callbacks that the job is fitted with.
        save_freq: Steps between saves within an epoch, or `"epoch"`.
        variables: Other variables that belong to the job.
        sigterm: Whether SIGTERM came.
        watch: What the steps use.
        unchanged: What the functions of callbacks hold.
    """

    def __init__(
        self,
        store: CheckpointDirectory,
        begin: Begin,
        batches: ResumableBatches,
        callbacks: Sequence[keras.callbacks.Callback],
        *,
        save_freq: int | str,
        variables: Mapping[str, keras.Variable],
        sigterm: Sigterm,
        watch: StepWatch,
        unchanged: Unchanged,
    ) -> None:
        super().__init__()
        self._store, self._begin, self._batches = store, begin, batches
        self._save_freq, self._extra_variables, self._sigterm = save_freq, variables, sigterm
        self._watch, self._unchanged = watch, unchanged
        self._list: JobCallbacks | None = None
        histories = [c for c in callbacks if isinstance(c, keras.callbacks.History)]
        self._history = histories[0] if histories else keras.callbacks.History()
        # Keras's own order: the history sees what the others wrote into the logs.
        self.needed = [self] if histories else [self._history, self]
        automatic = (keras.callbacks.History, keras.callbacks.ProgbarLogger)
        self._others = [c for c in callbacks if not isinstance(c, automatic)]
        self._epoch = begin.epoch  # the one that runs, or is next
        self._offset = begin.steps  # its steps that were done before this `fit`
        self._done = begin.steps  # its steps that are done

    def first_step(self, model: keras.Model) -> int:
        """The step of the job at which this `fit` begins."""
        return self._begin.epoch * self._steps(model) + self._begin.steps

    def follow(self, callbacks: JobCallbacks) -> None:
        """Tells the callbacks of the job where in an epoch it is."""
        self._list = callbacks
        callbacks.offset = self._offset

    # What Keras calls

    def on_train_begin(self, logs: Any = None) -> None:
        if self._begin.found is not None:
            self._make_variables()
            self._restore(metrics=False)
            restore_history(self._history, self._begin.found.about["history"])

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if self._offset:
            # Other callbacks have begun the epoch again, and metrics are reset.
            self._restore(metrics=True)
        self._epoch, self._done = epoch, self._offset

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        before, self._done = self._done, batch + 1
        if before == self._offset:
            self._unchanged.require()
        if self._done < self._steps(self.model):
            freq = self._save_freq
            due = isinstance(freq, int) and self._done // freq > before // freq
            if due or self._sigterm.received:
                self._save()
            self._sigterm.exit_if_received()
        elif self._offset and not self.model.stop_training:
            self.model.stop_training = _EpochIsOver()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if isinstance(self.model.stop_training, _EpochIsOver):
            self.model.stop_training = False
        self._epoch, self._offset, self._done = epoch + 1, 0, 0
        if self._list is not None:
            self._list.offset = 0
        self._save()
        self._sigterm.exit_if_received()

    def on_train_end(self, logs: Any = None) -> None:
        if self._epoch and not self._done and not self._begin.final:
            self._save(final=True)

    # The state

    def _save(self, *, final: bool = False) -> None:
        self._unchanged.require()
        variables = self._state(metrics=self._done > 0)
        values: dict[str, npt.NDArray[Any]] = {
            name: value_of(variable) for name, variable in variables.items()
        }
        states, kept = save_callbacks(self._others)
        stop = self.model.stop_training
        about = {
            "epoch": self._epoch,
            "steps": self._done,
            "stopped": bool(stop) and not isinstance(stop, _EpochIsOver),
            "history": save_history(self._history),
            "callbacks": states,
        }
        self._store.save(about, {**values, **kept}, final=final)

    def _restore(self, *, metrics: bool) -> None:
        found = self._begin.found
        if found is not None:
            variables = self._state(metrics=metrics)
            restore_variables(variables, found, metrics=metrics)
            restore_callbacks(self._others, found.about["callbacks"], found.values)

    def _state(self, *, metrics: bool) -> Variables:
        every = job_variables(self.model, self._extra_variables, metrics=True)
        outside = self._watch.outside(every.values())
        kept = {n: v for n, v in every.items() if metrics or not n.startswith("metric|")}
        return {**kept, **outside}

    def _make_variables(self) -> None:
        """One step, undone by the restore that follows: it makes optimizer and metrics."""
        batches = self._batches.from_step(self.first_step(self.model))
        iterator = iter(batches)
        self._watch.begin("training")
        self.model.train_function(iterator)
        self._watch.end()

    def _steps(self, model: keras.Model) -> int:
        """Steps of an epoch: Keras runs `steps_per_execution` of them at a time."""
        at_once = int(model.steps_per_execution)
        return -(-self._batches.steps_per_epoch // at_once) * at_once
