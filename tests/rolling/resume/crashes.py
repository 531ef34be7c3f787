"""Jobs that an exception ends anywhere and that are resumed, all in one process.

What is on disk then is what a killed process leaves, but for the release of the directory.
"""

import keras
import numpy as np

from keras_trainsteps.rolling import ResumableJob, resumable_batches

EPOCHS, STEPS = 3, 2
_GENERATOR = np.random.default_rng(0)
X = _GENERATOR.normal(size=(6, 3)).astype("float32")
Y = (X[:, :1] + 0.5 * _GENERATOR.normal(size=(6, 1)) > 0).astype("float32")


class Crash(Exception):
    """What ends a job."""


class At(keras.callbacks.Callback):
    """Calls `act` at the `number`-th event of a kind, from 0."""

    def __init__(self, event, number, act):
        super().__init__()
        self.event, self.left, self.act = event, number, act

    def _count(self, event):
        if event == self.event:
            self.left -= 1
            if self.left < 0:
                self.act(self.model)

    def on_epoch_begin(self, epoch, logs=None):
        self._count("epoch_begin")

    def on_train_batch_end(self, batch, logs=None):
        self._count("batch_end")

    def on_epoch_end(self, epoch, logs=None):
        self._count("epoch_end")

    def on_train_end(self, logs=None):
        self._count("train_end")


def crash(model):
    raise Crash


def plain(*extra, cls=keras.Model, optimizer=None, **options):
    """A light model: its steps run eagerly."""
    inputs = keras.Input((3,), name="features")
    hidden = keras.layers.Dense(2, "relu", name="a")(inputs)
    for layer in extra:
        hidden = layer(hidden)
    model = cls(inputs, keras.layers.Dense(1, name="b")(hidden))
    loss = "mse" if cls is keras.Model else None
    optimizer = optimizer or keras.optimizers.SGD(0.1, momentum=0.9)
    model.compile(optimizer, **{"loss": loss, "run_eagerly": True, **options})
    return model


def batches(**options):
    return resumable_batches(X, Y, **{"batch_size": 3, "seed": 1, **options})


def fit(directory, model=None, callbacks=(), *, data=None, act=(), job=None, **options):
    """Runs or resumes a job.

    Args:
        directory: Where it is saved.
        model: Its model, compiled. Default: `plain()`.
        callbacks: Its callbacks.
        data: Its batches.
        act: The event, its number and what to do then: see `At`.
        job: Options of `ResumableJob`.
        options: Options of `ResumableJob.fit`.

    Returns:
        The model and the history.
    """
    keras.utils.set_random_seed(1)
    model = plain() if model is None else model() if not hasattr(model, "fit") else model
    acting = [At(*act)] if act else [At("never", 0, crash)]
    job = {"run_id": "monday", **(job or {})}
    job["stateless"] = (At, *job.get("stateless", ()))
    options = {"epochs": EPOCHS, "verbose": 0, **options}
    history = ResumableJob(directory, **job).fit(
        model, data or batches(), callbacks=[*callbacks, *acting], **options
    )
    return model, history


def outcome(model, history):
    """All that a job ends with, for comparison to the bit."""
    variables = [*model.variables, *model.optimizer.variables]
    return {
        "state": [keras.ops.convert_to_numpy(v).tolist() for v in variables],
        "epochs": history.epoch,
        "history": history.history,
    }
