"""The jobs that are killed and resumed: every kind of model, and how each is run."""

import json
import os
import signal
import warnings
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_trainsteps import LossAwareModel, losses
from keras_trainsteps.metrics import NDCG
from keras_trainsteps.penalties import (
    L2SP,
    TrainableCoefficient,
    WeightPenalty,
    sum_of_norms,
)
from keras_trainsteps.rolling import ResumableJob, resumable_batches
from tests.rolling.faults import Faults
from tests.rolling.models import Ranker, ranking_data

EPOCHS = 5
STEPS = 4  # 40 rows, 10 a batch


def network(*extra, **dense):
    inputs = keras.Input((3,), name="features")
    hidden = keras.layers.Dense(8, "relu", name="a", **dense)(inputs)
    for layer in extra:
        hidden = layer(hidden)
    return inputs, keras.layers.Dense(1, name="b", dtype="float32")(hidden)


def plain(*extra, optimizer="adam", **options):
    model = keras.Model(*network(*extra))
    model.compile(optimizer, loss="mse", metrics=["mae"], **options)
    return model


def ranking(dropout=0.2):
    class TwoTerms(Ranker):
        """As `Ranker`; one term only trains, and one metric reads the query ids."""

        def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
            terms = super().compute_losses(x, y, y_pred, sample_weight, training)
            if training:
                terms["penalty"] = 1e-3 * keras.ops.mean(keras.ops.square(y_pred))
            return terms

    inputs, scores = network(keras.layers.Dropout(dropout))
    model = TwoTerms(inputs, keras.layers.Reshape(())(scores))
    model.log_scale = model.add_weight(name="log_scale", shape=(), initializer="zeros")
    model.compile(keras.optimizers.Adam(0.02), metrics=[NDCG("query_id", k=3)])
    return model


def added():
    """As `ranking`, with a coefficient that the library trains."""
    model = ranking()
    coefficient = TrainableCoefficient(0.5, bounds=(0.01, 2.0))
    penalty = WeightPenalty(sum_of_norms, weights=["*/kernel"], coefficient=coefficient)
    model.add_loss(penalty, name="norms")
    model.compile(keras.optimizers.Adam(0.02), metrics=[NDCG("query_id", k=3)])
    return model


def anchored():
    """As `ranking`, held near where the job began, not where it was resumed."""
    model = ranking()
    model.add_loss(L2SP(weights=["*/kernel"], coefficient=0.5), name="anchor")
    model.compile(keras.optimizers.Adam(0.02))
    return model


class Towers(LossAwareModel):
    """Defines `call`; its coefficients are weights that attributes, dicts or nothing hold."""

    side_inputs = ("query_id",)

    def __init__(self):
        super().__init__()
        self.hidden = keras.layers.Dense(8, "relu")
        self.noise = keras.layers.Dropout(0.3)
        self.score = keras.layers.Dense(1)
        self.log_scale = self.add_weight(name="log_scale", shape=(), initializer="zeros")
        names = ("near", "far")
        self.shares = {n: self.add_weight(name=n, shape=(), initializer="ones") for n in names}
        self.add_weight(name="floor", shape=(), initializer="ones")

    def call(self, x, training=False):
        hidden = self.noise(self.hidden(x["features"]), training=training)
        return keras.ops.squeeze(self.score(hidden), -1)

    def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
        floor = next(w for w in self.weights if w.name == "floor")
        scaled = keras.ops.exp(self.log_scale) * y_pred
        return {
            "pairwise": losses.pairwise_logistic(y, scaled, query_ids=x["query_id"]),
            "near": keras.ops.square(self.shares["near"] * y_pred - y),
            "far": keras.ops.square(self.shares["far"] - floor * y_pred),
        }


def towers():
    model = Towers()
    model.compile(keras.optimizers.Adam(0.02))
    model({"features": np.zeros((2, 3), "float32")})
    return model


class GlobalNoise(keras.layers.Layer):
    """Draws from the generator that all of Keras shares: no seed, no state of its own."""

    def call(self, x, training=False):
        return keras.random.dropout(x, 0.5) if training else x


def one_replica():
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        return plain(keras.layers.Dropout(0.3))


class Annealed(keras.callbacks.Callback):
    """Halves a loss weight each epoch; its state is the number of times."""

    def __init__(self, weight):
        super().__init__()
        self.weight, self.times = weight, 0

    def on_epoch_end(self, epoch, logs=None):
        self.times += 1
        self.weight.assign(0.5**self.times)

    def get_state(self):
        return {"times": self.times}

    def set_state(self, state):
        self.times = state["times"]


class OneTerm(LossAwareModel):
    def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
        return {"squared": keras.ops.square(y_pred - y)}


def annealed():
    weight = keras.Variable(1.0, name="annealed", trainable=False)
    model = OneTerm(*network())
    model.compile("adam", loss_weights={"squared": weight})
    return model, weight


def schedule():
    return keras.optimizers.schedules.CosineDecay(0.1, 15)


# Each case: the model, the callbacks before the checkpoint, options.
CASES = {
    "plain": lambda: (plain(), [], {}),
    "dropout seeded": lambda: (plain(keras.layers.Dropout(0.5, seed=11)), [], {}),
    "dropout unseeded": lambda: (plain(keras.layers.Dropout(0.5)), [], {}),
    "batch norm": lambda: (
        plain(keras.layers.BatchNormalization(), keras.layers.Dropout(0.3)),
        [],
        {},
    ),
    "schedule": lambda: (plain(optimizer=keras.optimizers.Adam(schedule())), [], {}),
    "rate scheduler": lambda: (
        plain(),
        [keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.7)],
        {},
    ),
    "early stopping": lambda: (
        plain(optimizer=keras.optimizers.SGD(0.3)),
        [
            keras.callbacks.EarlyStopping(
                "val_loss", patience=1, min_delta=0.02, restore_best_weights=True
            )
        ],
        {},
    ),
    "plateau": lambda: (
        plain(optimizer=keras.optimizers.SGD(0.1)),
        [
            keras.callbacks.ReduceLROnPlateau(
                "val_loss", factor=0.5, patience=1, min_delta=0.05, cooldown=1
            )
        ],
        {},
    ),
    "ema": lambda: (
        plain(optimizer=keras.optimizers.Adam(0.05, use_ema=True, ema_momentum=0.9)),
        [],
        {},
    ),
    "accumulation": lambda: (
        plain(optimizer=keras.optimizers.Adam(0.05, gradient_accumulation_steps=3)),
        [],
        {},
    ),
    "float16": lambda: (float16(), [], {}),
    "several steps at once": lambda: (
        plain(keras.layers.Dropout(0.3), steps_per_execution=2),
        [],
        {},
    ),
    "uneven steps at once": lambda: (
        plain(keras.layers.Dropout(0.3), steps_per_execution=3),
        [],
        {},
    ),
    "eager": lambda: (plain(keras.layers.Dropout(0.3), run_eagerly=True), [], {}),
    "xla": lambda: (plain(keras.layers.Dropout(0.3), jit_compile=True), [], {}),
    "ranking": lambda: (
        ranking(),
        [keras.callbacks.ReduceLROnPlateau("val_loss", patience=1, min_delta=0.5)],
        {"query_ids": "query_id"},
    ),
    "trainable coefficient": lambda: (added(), [], {"query_ids": "query_id"}),
    "anchored": lambda: (anchored(), [], {"query_ids": "query_id"}),
    "subclassed ranking": lambda: (towers(), [], {"query_ids": "query_id"}),
    "dropout global": lambda: (plain(GlobalNoise()), [], {}),
    "one replica": lambda: (one_replica(), [], {}),
    "annealed weight": lambda: annealed_case(),
    "light": lambda: (light(), [], {}),
}


def light():
    """Nothing is traced, and little is computed."""
    return plain(keras.layers.Dropout(0.3), optimizer="sgd", run_eagerly=True)


def float16():
    keras.config.set_dtype_policy("mixed_float16")
    inner = keras.optimizers.Adam(0.01)
    optimizer = keras.optimizers.LossScaleOptimizer(
        inner, initial_scale=2.0**10, dynamic_growth_steps=3
    )
    return plain(optimizer=optimizer)


def annealed_case():
    model, weight = annealed()
    return model, [Annealed(weight)], {}


class Killer(keras.callbacks.Callback):
    """Kills its process at the n-th event of a kind."""

    def __init__(self, event, at, number=signal.SIGKILL):
        super().__init__()
        self.event, self.at, self.number = event, at, number

    def _count(self, event):
        if event == self.event:
            if self.at == 0:
                os.kill(os.getpid(), self.number)
            self.at -= 1

    def on_epoch_begin(self, epoch, logs=None):
        self._count("epoch_begin")

    def on_train_batch_begin(self, batch, logs=None):
        self._count("batch_begin")

    def on_train_batch_end(self, batch, logs=None):
        self._count("batch_end")

    def on_test_batch_end(self, batch, logs=None):
        self._count("validation")

    def on_epoch_end(self, epoch, logs=None):
        self._count("epoch_end")

    def on_train_end(self, logs=None):
        self._count("train_end")


def job(case, directory, *, kill=None, epochs=EPOCHS, save_freq=1, out=None, shift=0):
    """Runs or resumes a job."""
    warnings.simplefilter("error")
    # Keras 3.15.1 reads a learning rate so under NumPy 2.
    warnings.filterwarnings("ignore", message="__array__ implementation")
    if case != "xla":  # Keras does not compile with XLA under op determinism
        tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(3)
    for _ in range(shift):
        plain()  # moves Keras's counters of names
    keras.utils.set_random_seed(3)
    model, callbacks, options = CASES[case]()
    x, y = ranking_data()
    query_ids = options.get("query_ids")
    rows = x if query_ids else x["features"]
    batches = resumable_batches(
        rows, y[:, None] if not query_ids else y, query_ids=query_ids, batch_size=10, seed=5
    )
    assert batches.steps_per_epoch == STEPS
    resumable = ResumableJob(
        directory,
        run_id=case,
        save_freq=save_freq,
        variables=options.get("variables"),
        stateless=(Killer,),
    )
    killer = Killer("never", 0)
    if kill is not None and kill[0] == "disk":
        Faults(kill[1], kill[2]).install()
    elif kill is not None:
        killer = Killer(*kill)
    validation = (rows, y[:, None] if not query_ids else y)
    history = resumable.fit(
        model,
        batches,
        epochs=epochs,
        validation_data=validation,
        validation_batch_size=20,
        callbacks=[*callbacks, killer],
        class_weight=options.get("class_weight"),
        verbose=0,
    )
    if out is not None:
        values = [*model.variables, *model.optimizer.variables]
        values += options.get("variables", {}).values()
        arrays = [np.asarray(tf.convert_to_tensor(v).numpy()) for v in values]
        logs = {
            "epochs": history.epoch,
            "history": {k: [float(v) for v in vs] for k, vs in history.history.items()},
            "state": [(a.dtype.name, a.tobytes().hex()) for a in arrays],
        }
        Path(out).write_text(json.dumps(logs))
