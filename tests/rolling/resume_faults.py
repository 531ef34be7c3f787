"""Jobs that are killed and resumed, compared with the same jobs left alone; prints JSON.

    python resume_faults.py DIRECTORY SUITE...

Each run is a fork of this process, made after TensorFlow is imported and before it is
used, so that a run starts at once and is as separate as any process.
"""

import json
import os
import shutil
import signal
import sys
import time
import traceback
import warnings
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import keras
import numpy as np
import tensorflow as tf

from keras_trainsteps import LossAwareModel
from keras_trainsteps.metrics import NDCG
from keras_trainsteps.rolling import (
    ResumableCheckpoint,
    export_serving,
    load_for_inference,
    resumable_batches,
    save_for_inference,
    save_for_training,
)
from keras_trainsteps.rolling.model_state import read_state
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
    weight = keras.Variable(1.0, name="annealed")
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
    "annealed weight": lambda: annealed_case(),
}


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
    checkpoint = ResumableCheckpoint(
        directory,
        batches,
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
    history = model.fit(
        **batches.fit_arguments,
        epochs=epochs,
        validation_data=validation,
        validation_batch_size=20,
        callbacks=[*callbacks, killer, checkpoint],
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


def child(*args, **options):
    """Runs a job in a fork; its exit code, or minus the signal that killed it."""
    return forked(job, *args, **options)


def forked(work, *args, **options):
    """Runs `work` in a fork; its exit code, or minus the signal that killed it."""
    pid = os.fork()
    if pid == 0:
        try:
            work(*args, **options)
        except SystemExit as error:
            os._exit(error.code)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def same(case, base, kills, epochs=EPOCHS, **options):
    """A job killed at each of `kills` in turn and resumed ends as the one left alone."""
    shutil.rmtree(base, ignore_errors=True)
    base.mkdir(parents=True)
    whole = base / "whole.json"
    cached = base.parent / f"{case}-{epochs}.json"
    if not cached.exists():
        assert child(case, base / "a", epochs=epochs, out=whole, **options) == 0, case
        shutil.copy(whole, cached)
    for kill in kills:
        expected = -signal.SIGKILL
        if kill[-1] == signal.SIGTERM:
            expected = 128 + signal.SIGTERM
        code = child(case, base / "b", kill=kill, epochs=epochs, **options)
        assert code == expected, (case, kill, code)
    resumed = base / "resumed.json"
    assert child(case, base / "b", epochs=epochs, out=resumed, shift=2, **options) == 0
    left, right = json.loads(cached.read_text()), json.loads(resumed.read_text())
    for part in left:
        assert left[part] == right[part], (case, kills, part, left[part], right[part])
    return left


def cases(base, names=tuple(CASES)):
    """Every kind of model, killed within an epoch and resumed."""
    epochs = {}
    for case in names:
        event = ("batch_end", 4) if "at once" in case else ("batch_end", 9)
        epochs[case] = len(same(case, base / "run", [event])["epochs"])
    assert epochs["early stopping"] < EPOCHS, epochs  # it did stop
    return epochs


def some_cases(base):
    """The kinds that fail in different ways."""
    names = ("dropout unseeded", "early stopping", "plateau", "float16", "ranking")
    return cases(base, names)


def epoch_ends(base):
    """Every kind of model, killed in the first batch after an epoch, saved by epoch."""
    for case in CASES:
        event = ("batch_begin", 4) if "at once" in case else ("batch_begin", 8)
        same(case, base / "run", [event], save_freq="epoch")
    return len(CASES)


def moments(base, case="dropout unseeded"):
    """Every kind of moment of one job."""
    kills = [
        ("epoch_begin", 0),
        ("batch_begin", 0),
        ("batch_end", 0),
        ("batch_end", 2 * STEPS - 1),
        ("batch_end", EPOCHS * STEPS - 1),
        ("validation", 0),
        ("validation", 3),
        ("epoch_end", 0),
        ("epoch_end", EPOCHS - 1),
        ("train_end", 0),
        ("batch_end", 6, signal.SIGTERM),
        ("batch_end", 2 * STEPS - 1, signal.SIGTERM),
    ]
    for kill in kills:
        same(case, base / "run", [kill])
    return len(kills)


def moments_of_ranking(base):
    """The same of a job with side inputs, named terms and a coefficient."""
    return moments(base, "ranking")


def twice(base, case="dropout unseeded"):
    """Killed again and again while resuming."""
    first = ("batch_end", 6)
    for second in (("epoch_begin", 0), ("batch_begin", 0), ("batch_end", 0), first):
        same(case, base / "run", [first, second, second])
    same(case, base / "run", [("disk", 20, "kill_after"), ("disk", 2, "kill_after")])
    return 5


def disk(base, case="dropout unseeded", every=1):
    """Killed at each step on disk of three checkpoints in the middle of the job."""
    number = 0
    for at in range(0, 46, every):
        for action in ("kill_before", "kill_after"):
            same(case, base / "run", [("disk", at, action)])
            number += 1
    return number


def some_disk(base):
    return disk(base, every=9)


def complete(base):
    """Resuming a complete job does nothing; with more epochs it goes on."""
    for case in ("ema", "early stopping"):
        shutil.rmtree(base / "c", ignore_errors=True)
        outs = [base / f"{name}.json" for name in ("first", "again")]
        base.mkdir(exist_ok=True)
        for out in outs:
            assert child(case, base / "c", out=out) == 0
        first, again = (json.loads(out.read_text()) for out in outs)
        assert first == again, (case, first, again)
    for case in ("ema",):
        shutil.rmtree(base / "c")
        assert child(case, base / "c", epochs=3) == 0
        assert child(case, base / "c", out=outs[0], epochs=EPOCHS) == 0
        assert child(case, base / "d", out=outs[1], epochs=EPOCHS) == 0
        longer, straight = (json.loads(out.read_text()) for out in outs)
        assert longer == straight, case
        shutil.rmtree(base / "d")
    return 3


def artefacts(base):
    """Killed at each step on disk of writing an artefact: it is whole, or not there."""
    kinds = {
        "inference": (save_for_inference, load_for_inference),
        "training": (save_for_training, read_state),
        "served": (export_serving, lambda path: tf.saved_model.load(path / "saved_model")),
    }

    def write(save, path, at=-1, action="kill_before"):
        model = plain()
        faults = Faults(at, action).install()
        save(model, path)
        path.with_name("steps").write_text(str(faults.count))

    number = 0
    for name, (save, load) in kinds.items():
        path = base / name / "artefact"
        path.parent.mkdir(parents=True)
        assert forked(write, save, path) == 0
        steps = int(path.with_name("steps").read_text())
        for at in range(0, steps, 1 if name != "served" else 3):
            for action in ("kill_before", "kill_after"):
                shutil.rmtree(path.parent)
                path.parent.mkdir()
                code = forked(write, save, path, at, action)
                assert code == -signal.SIGKILL, (name, at, action, code)
                if path.exists():
                    assert forked(load, path) == 0, (name, at, action)
                else:
                    assert forked(write, save, path) == 0, (name, at, action)
                number += 1
    return number


def two_trainers(base):
    """A second trainer on the same directory is refused while the first one runs."""
    base.mkdir(parents=True, exist_ok=True)
    pid = os.fork()
    if pid == 0:
        job("plain", base / "t", kill=("batch_end", 3, signal.SIGSTOP))
        os._exit(0)
    os.waitpid(pid, os.WUNTRACED)
    code = child("plain", base / "t")
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert code == 1
    assert child("plain", base / "t") == 0
    return code


if __name__ == "__main__":
    begin, found = time.time(), {}
    for suite in sys.argv[2:]:
        found[suite] = globals()[suite](Path(sys.argv[1]) / suite)
        found[f"{suite} s"] = round(time.time() - begin, 1)
    print(json.dumps(found))
