"""`ResumableCheckpoint`: a job killed at any moment goes on as if it had not been."""

from __future__ import annotations

import os
import weakref
from collections.abc import Mapping
from typing import Any

import keras
import numpy.typing as npt

from keras_trainsteps.rolling.artifacts.optimizer_state import config_of
from keras_trainsteps.rolling.resume import callbacks as callback_state
from keras_trainsteps.rolling.resume.batches import ResumableBatches
from keras_trainsteps.rolling.resume.directory import Checkpoint, CheckpointDirectory
from keras_trainsteps.rolling.resume.sigterm import EXIT_STATUS, Sigterm
from keras_trainsteps.rolling.resume.variables import job_variables, restore
from keras_trainsteps.structure.structure import structure_of, value_of


class _EpochIsOver:
    """Truth for `model.stop_training`: ends a resumed part of an epoch, not the training."""


class ResumableCheckpoint(keras.callbacks.Callback):
    """Saves a job while it trains, and resumes it after a crash, to the bit.

    The resumed `fit` ends with the weights, optimizer, random states, remaining logs and
    decisions of the other callbacks that the uninterrupted one would have had: on a CPU,
    with `tf.config.experimental.enable_op_determinism()` and one replica. It is called
    as it was called first; when the job is complete already, it trains nothing.

    A checkpoint is written beside the last, synced, and renamed into place; a damaged one
    is passed over with a warning. On SIGTERM the job saves after the step that runs and
    exits with status 143.

    Resuming goes on with the same job. To start a new one from old weights, use
    `warm_start`: the directory of another job is refused, by its `run_id`.

    Args:
        directory: The directory of this job; made when it is missing.
        batches: The batches of the job: `model.fit(**batches.fit_arguments, ...)`.
        run_id: A name for the job, e.g. `"ranker 2026-11-21"`.
        save_freq: `"epoch"`, or every so many steps; epoch ends are saved in any case.
        keep: How many checkpoints to keep, at least 1.
        variables: Other variables by name that belong to the job's state: what a callback
            changes beside the model. Loss weights of a `LossAwareModel` are saved anyway.
        stateless: Classes of callbacks that remember nothing. Callbacks of one's own that
            do need `get_state()` and `set_state(state)`.

    Raises:
        ValueError: In `fit`: when it is not the last callback, for a directory of another
            job or process, other data, another model, several replicas.

    Example:

    >>> import tempfile
    >>> from keras_trainsteps.rolling import resumable_batches
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile("adam", loss="mse")
    >>> x, y = np.ones((8, 2)), np.ones((8, 1))
    >>> batches = resumable_batches(x, y, batch_size=4, seed=1)
    >>> checkpoint = ResumableCheckpoint(tempfile.mkdtemp(), batches, run_id="monday")
    >>> for _ in range(2):  # the second is the job resumed after its end: nothing to do
    ...     history = model.fit(
    ...         **batches.fit_arguments, epochs=3, callbacks=[checkpoint], verbose=0
    ...     )
    >>> int(model.optimizer.iterations)
    6
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        batches: ResumableBatches,
        *,
        run_id: str,
        save_freq: int | str = "epoch",
        keep: int = 2,
        variables: Mapping[str, keras.Variable] | None = None,
        stateless: tuple[type[keras.callbacks.Callback], ...] = (),
    ) -> None:
        super().__init__()
        if not isinstance(batches, ResumableBatches):
            raise TypeError(
                "`batches` must be what `resumable_batches` returns. "
                f"Received: {type(batches).__name__}."
            )
        if not isinstance(run_id, str) or not run_id:
            raise ValueError(f"`run_id` must be a name for the job. Received: {run_id!r}.")
        if save_freq != "epoch" and (not isinstance(save_freq, int) or save_freq < 1):
            raise ValueError(
                f"`save_freq` must be 'epoch' or a number of steps. Received: {save_freq!r}."
            )
        if not isinstance(keep, int) or keep < 1:
            raise ValueError(f"`keep` must be at least 1. Received: {keep!r}.")
        self._store = CheckpointDirectory(directory, keep)
        self._release = weakref.finalize(self, self._store.close)
        self.batches, self.run_id, self.save_freq = batches, run_id, save_freq
        self._extra = dict(variables or {})
        self._stateless = stateless
        self._callbacks: list[keras.callbacks.Callback] = []
        self._pending: Checkpoint | None = None
        self._offset = self._done = self._epoch = 0
        self._logs: list[tuple[int, dict[str, float]]] = []
        self._was_final = False
        self._sigterm = Sigterm()

    # What Keras calls

    def on_train_begin(self, logs: Any = None) -> None:
        self._callbacks = callback_state.callbacks_of_fit()
        callback_state.require_resumable(self._callbacks, self, self._stateless)
        self._require_supported()
        self._store.open(self._job())
        self._sigterm.watch(self.model)
        self._offset = self._done = self._epoch = 0
        self._pending, self._logs, self._was_final = None, [], False
        self.batches.start = 0
        found = self._store.latest()
        if found is None:
            return
        epochs = self.params["epochs"]
        complete = found.steps == 0 and (found.stopped or found.epoch >= epochs)
        if complete:
            final = self._store.final()
            if final is not None and final.epoch == found.epoch:
                found, self._was_final = final, True
        self._epoch, self._offset = found.epoch, found.steps
        self._logs = [(epoch, values) for epoch, values in found.about["logs"]]
        self.batches.start = found.epoch * self._steps() + found.steps
        self._make_variables()
        self._restore(found)
        self._restore_callbacks(found)
        # `fit` reads it after this, as for `BackupAndRestore`.
        self.model._initial_epoch = max(epochs, 1) if complete else found.epoch
        self._pending = found

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._epoch = epoch
        self._done = self._offset
        found, self._pending = self._pending, None
        if found is None:
            return
        self.model._initial_epoch = 0  # else the next `fit` would begin here, too
        self._restore_history()
        if found.steps:
            # Other callbacks have begun the epoch again, and metrics are reset.
            self._restore(found, metrics=True)
            self._restore_callbacks(found)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        before, self._done = self._done, self._offset + batch + 1
        steps = self._steps()
        if self._done < steps:
            freq = self.save_freq
            due = isinstance(freq, int) and self._done // freq > before // freq
            if due or self._sigterm.received:
                self._save(self._epoch, self._done)
            self._exit_if_terminated()
        elif self._offset and not self.model.stop_training:
            self.model.stop_training = _EpochIsOver()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if isinstance(self.model.stop_training, _EpochIsOver):
            self.model.stop_training = False
        self._offset = self._done = 0
        values = {name: float(value) for name, value in (logs or {}).items()}
        self._logs = [*self._logs, (epoch, values)]
        self._epoch = epoch + 1
        self._save(self._epoch, 0)
        self._exit_if_terminated()

    def on_train_end(self, logs: Any = None) -> None:
        if self._pending is not None:  # there was nothing left to train
            self._pending = None
            self.model._initial_epoch = 0
            self._restore_history()
        if self._epoch and not self._done and not self._was_final:
            self._save(self._epoch, 0, final=True)
        self._sigterm.unwatch()
        self._store.close()

    # The state

    def _values(self, *, metrics: bool) -> dict[str, keras.Variable]:
        return job_variables(self.model, self._extra, metrics=metrics)

    def _save(self, epoch: int, steps: int, *, final: bool = False) -> None:
        variables = self._values(metrics=steps > 0)
        values: dict[str, npt.NDArray[Any]] = {
            name: value_of(variable) for name, variable in variables.items()
        }
        states, kept = callback_state.save_callbacks(self._others())
        stop = self.model.stop_training
        about = {
            "epoch": epoch,
            "steps": steps,
            "stopped": bool(stop) and not isinstance(stop, _EpochIsOver),
            "logs": self._logs,
            "callbacks": states,
        }
        self._store.save(about, {**values, **kept}, final=final)

    def _restore(self, found: Checkpoint, *, metrics: bool = False) -> None:
        restore(self._values(metrics=metrics), found, metrics=metrics)

    def _restore_callbacks(self, found: Checkpoint) -> None:
        callback_state.restore_callbacks(self._others(), found.about["callbacks"], found.values)

    def _restore_history(self) -> None:
        for callback in self._callbacks:
            if isinstance(callback, keras.callbacks.History):
                callback.epoch = [epoch for epoch, _ in self._logs]
                callback.history.clear()
                for _, values in self._logs:
                    for name, value in values.items():
                        callback.history.setdefault(name, []).append(value)

    def _others(self) -> list[keras.callbacks.Callback]:
        skipped = (keras.callbacks.History, keras.callbacks.ProgbarLogger, type(self))
        return [c for c in self._callbacks if not isinstance(c, skipped)]

    def _make_variables(self) -> None:
        """One step, undone by the restore that follows: it makes optimizer and metrics."""
        self.model.train_function(iter(self.batches.from_step(self.batches.start)))

    # What the job is

    def _job(self) -> dict[str, Any]:
        return {
            "run_id": self.run_id,
            "data": self.batches.fingerprint,
            "steps_per_execution": self.model.steps_per_execution,
            "optimizer": config_of(self.model.optimizer),
            "layers": structure_of(self.model).layers,
        }

    def _steps(self) -> int:
        """Steps of an epoch: Keras runs `steps_per_execution` of them at a time."""
        at_once = int(self.model.steps_per_execution)
        return -(-self.batches.steps_per_epoch // at_once) * at_once

    def _require_supported(self) -> None:
        if self.model.distribute_strategy.num_replicas_in_sync > 1:
            raise ValueError(
                "`ResumableCheckpoint` needs one replica: with several the order of sums "
                "is not fixed. Received: "
                f"{self.model.distribute_strategy.num_replicas_in_sync} replicas."
            )
        if self.params["steps"] != self.batches.steps_per_epoch:
            raise ValueError(
                "`fit` must be called with `**batches.fit_arguments`. Received: "
                f"{self.params['steps']} steps instead of {self.batches.steps_per_epoch}."
            )
        if not self.model.built:
            raise ValueError(
                "`model` must be built before `fit`, so that its weights can be restored. "
                "Received: an unbuilt one. Declare its input, or call it on a batch."
            )

    def _exit_if_terminated(self) -> None:
        if self._sigterm.received:
            self._sigterm.unwatch()
            self._store.close()
            raise SystemExit(EXIT_STATUS)
