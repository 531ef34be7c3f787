"""`ResumableJob`: a job killed at any moment goes on as if it had not been."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import keras

from keras_trainsteps.rolling.resume import rates
from keras_trainsteps.rolling.resume.batches import ResumableBatches
from keras_trainsteps.rolling.resume.callback_list import JobCallbacks
from keras_trainsteps.rolling.resume.callbacks import (
    Unchanged,
    require_resumable,
    without_wrappers,
)
from keras_trainsteps.rolling.resume.checkpoint import JobCheckpoint
from keras_trainsteps.rolling.resume.description import description_of, require_repeatable
from keras_trainsteps.rolling.resume.directory import CheckpointDirectory
from keras_trainsteps.rolling.resume.sigterm import sigterm_watched
from keras_trainsteps.rolling.resume.watch import StepWatch

ValidationData: TypeAlias = Any
"""As in `keras.Model.fit`: `(x, y)`, `(x, y, sample_weight)`, or what gives batches."""


class ResumableJob:
    """Trains a model, saves the job while it runs, and resumes it after a crash, to the bit.

    `job.fit(model, batches, ...)` stands in the place of `model.fit`. Called again after a
    crash as it was called first, it ends with the weights, optimizer, random states, logs
    and decisions of callbacks that the uninterrupted one would have had: on a CPU, with
    `tf.config.experimental.enable_op_determinism()` and one replica. When the job is
    complete already, it trains nothing and gives back the model as it was at the end.

    A later call must be of the same job: the same data, optimizer with its learning rate,
    losses, metrics and `compute_losses` with their code, layers, callbacks and options,
    validation data and versions of Keras and TensorFlow. What differs is named, and refused
    before anything is changed; `epochs` and `verbose` may differ.

    What is kept, beside the model and its optimizer: variables that the steps use and that
    functions hold, random states among them; what callbacks of Keras remember, the lines of
    a `CSVLogger` among it. Refused, with the way out: operations that draw from a hidden
    state (`tf.random.uniform`), Python code in a step (`tf.py_function`), callbacks and
    functions in callbacks that remember something and do not say it. Not seen: what a step
    that runs eagerly keeps in Python, the content of a `tf.data.Dataset` for validation.

    A checkpoint is written next to the last, synced, and renamed into place; a damaged one
    is passed over with a warning. On SIGTERM the job saves after the step that runs and
    exits with status 143.

    Resuming goes on with the same job. To start a new one from old weights, use
    `warm_start`: the directory of another job is refused, by its `run_id`.

    Args:
        directory: The directory of this job; made when it is missing.
        run_id: A name for the job, e.g. `"ranker 2026-11-21"`.
        save_freq: `"epoch"`, or an integer: save also whenever so many steps of an epoch
            are done. Ends of epochs are saved in any case. Default: `"epoch"`.
        keep: How many checkpoints to keep, at least 1. Default: 2.
        variables: Other variables by name that belong to the job's state: what a callback
            changes that neither a step nor a function uses. Default: none.
        stateless: Classes of callbacks that remember nothing that matters; they are not
            compared either. Others of one's own need `get_state()`, which returns JSON
            values, and `set_state(state)`; a subclass of one of Keras's says there what it
            adds. Default: none.

    Raises:
        ValueError: For an empty `run_id`, a `save_freq` or `keep` below 1.

    Example:

    >>> import tempfile
    >>> import numpy as np
    >>> from keras_trainsteps.rolling import resumable_batches
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile("adam", loss="mse")
    >>> x, y = np.ones((8, 2)), np.ones((8, 1))
    >>> batches = resumable_batches(x, y, batch_size=4, seed=1)
    >>> job = ResumableJob(tempfile.mkdtemp(), run_id="monday")
    >>> for _ in range(2):  # the second is the job resumed after its end: nothing to do
    ...     history = job.fit(model, batches, epochs=3, verbose=0)
    >>> int(model.optimizer.iterations)
    6
    >>> history.epoch
    [0, 1, 2]
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        run_id: str,
        save_freq: int | Literal["epoch"] = "epoch",
        keep: int = 2,
        variables: Mapping[str, keras.Variable] | None = None,
        stateless: Sequence[type[keras.callbacks.Callback]] = (),
    ) -> None:
        if not isinstance(run_id, str) or not run_id:
            raise ValueError(f"`run_id` must be a name for the job. Received: {run_id!r}.")
        if save_freq != "epoch" and (not isinstance(save_freq, int) or save_freq < 1):
            raise ValueError(
                f"`save_freq` must be 'epoch' or a number of steps. Received: {save_freq!r}."
            )
        if not isinstance(keep, int) or keep < 1:
            raise ValueError(f"`keep` must be at least 1. Received: {keep!r}.")
        self.directory, self.run_id = Path(directory), run_id
        self.save_freq, self.keep = save_freq, keep
        self.variables, self.stateless = dict(variables or {}), tuple(stateless)

    def fit(
        self,
        model: keras.Model,
        batches: ResumableBatches,
        *,
        epochs: int = 1,
        verbose: int | Literal["auto"] = "auto",
        callbacks: keras.callbacks.Callback | Sequence[keras.callbacks.Callback] | None = None,
        validation_data: ValidationData = None,
        class_weight: Mapping[int, float] | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int | Sequence[int] = 1,
    ) -> keras.callbacks.History:
        """Begins the job, or goes on with it: `model.fit` from where it was saved last.

        Args:
            model: A built model, compiled as when the job began. Its weights are those of
                a new job, or whatever else: a resumed job brings its own.
            batches: What `resumable_batches` returned, from the same data and seed.
            epochs: Passes over the data of the whole job, those before a crash included.
                A complete job that is given more goes on. Default: 1.
            verbose: As in `keras.Model.fit`. Default: `"auto"`.
            callbacks: As in `keras.Model.fit`, the same in each call. They see the batches
                numbered from the beginning of the epoch. Default: none.
            validation_data: As in `keras.Model.fit`, but no generator, which nothing can
                begin again. Default: none.
            class_weight: As in `keras.Model.fit`. Default: none.
            validation_steps: As in `keras.Model.fit`. Default: all.
            validation_batch_size: As in `keras.Model.fit`. Default: 32.
            validation_freq: As in `keras.Model.fit`. Default: 1.

        Returns:
            The `History` of the whole job.

        Raises:
            TypeError: When `batches` is something else.
            ValueError: For a model that is not built, not compiled or on several replicas;
                a callback or a step with a state that cannot be saved; a directory with
                other things in it, of another job, of one that runs now, or without a whole
                checkpoint; another description than the job began with.
        """
        callbacks = keras.tree.flatten(callbacks or [])
        remembering = without_wrappers(callbacks)
        require_resumable(remembering, self.stateless)
        _require_batches(batches)
        _require_model(model)
        require_repeatable(validation_data)
        store = CheckpointDirectory(self.directory, self.keep)
        described, held = description_of(
            model,
            callbacks,
            self.stateless,
            validation_data,
            data=batches.fingerprint,
            class_weight=class_weight or {},
            validation_steps=validation_steps,
            validation_batch_size=validation_batch_size,
            validation_freq=validation_freq,
        )
        unchanged, watch = Unchanged(remembering, self.stateless), StepWatch(held)
        with (
            rates.of_the_code(described, model.optimizer, self.directory) as job,
            store.opened({"run_id": self.run_id, **job}),
            sigterm_watched() as sigterm,
            watch.fitting(model),
        ):
            begin = store.begin(epochs)
            checkpoint = JobCheckpoint(
                store,
                begin,
                batches,
                remembering,
                save_freq=self.save_freq,
                variables=self.variables,
                sigterm=sigterm,
                watch=watch,
                unchanged=unchanged,
            )
            every = JobCallbacks(
                [*callbacks, *checkpoint.needed],
                watch,
                add_progbar=verbose != 0,
                model=model,
                verbose=verbose,
                epochs=epochs,
                steps=batches.steps_per_epoch,
            )
            checkpoint.follow(every)
            history: keras.callbacks.History = model.fit(
                x=batches.from_step(checkpoint.first_step(model)),
                epochs=epochs,
                verbose=verbose,
                callbacks=every,
                validation_data=validation_data,
                shuffle=False,  # Keras warns of its own default
                class_weight=class_weight,
                initial_epoch=epochs if begin.complete else begin.epoch,
                steps_per_epoch=batches.steps_per_epoch,
                validation_steps=validation_steps,
                validation_batch_size=validation_batch_size,
                validation_freq=validation_freq,
            )
            sigterm.exit_if_received()
        return history


def _require_batches(batches: object) -> None:
    if not isinstance(batches, ResumableBatches):
        raise TypeError(
            "`batches` must be what `resumable_batches` returns. "
            f"Received: {type(batches).__name__}."
        )


def _require_model(model: keras.Model) -> None:
    if not model.built:
        raise ValueError(
            "`model` must be built, so that its weights can be restored. Received: an "
            f"unbuilt {type(model).__name__}. Declare its input, or call it on a batch."
        )
    if getattr(model, "optimizer", None) is None:
        raise ValueError(
            "`model` must be compiled with an optimizer. Received: a "
            f"{type(model).__name__} without one. Call `model.compile` as when the job began."
        )
    replicas = model.distribute_strategy.num_replicas_in_sync
    if replicas > 1:
        raise ValueError(
            "`model` must be on one replica: with several the order of sums is not fixed. "
            f"Received: a {type(model).__name__} on {replicas} replicas. Build and compile it "
            "outside `strategy.scope()`, or train it with `model.fit`."
        )
