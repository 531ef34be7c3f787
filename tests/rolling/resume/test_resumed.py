"""A job that ended anywhere goes on to where it would have come alone."""

import contextlib
import os
import signal
import threading

import keras
import pytest

from keras_trainsteps import LossAwareModel
from keras_trainsteps.rolling import ResumableJob, resumable_batches
from tests.rolling.resume.crashes import (
    STEPS,
    Crash,
    X,
    Y,
    batches,
    crash,
    fit,
    outcome,
    plain,
)

VALIDATION = {"validation_data": (X, Y)}
Noise, Plateau = keras.layers.Dropout, keras.callbacks.ReduceLROnPlateau


class GlobalNoise(keras.layers.Layer):
    """Draws from the generator that all of Keras shares."""

    def call(self, x, training=False):
        return keras.random.dropout(x, 0.5) if training else x


class Terms(LossAwareModel):
    """One term that a weight scales; one that only training, one that only validation has."""

    def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
        only = "training" if training else "validation"
        return {
            "squared": keras.ops.square(y_pred - y),
            only: 0.1 * keras.ops.mean(keras.ops.square(y_pred)),
        }


class Annealed(keras.callbacks.Callback):
    """Halves the loss weight of a model each step; remembers how often."""

    def __init__(self):
        super().__init__()
        self.times = 0

    def on_train_batch_end(self, batch, logs=None):
        self.times += 1
        self.model.loss_weight_variables["squared"].assign(0.5**self.times)

    def get_state(self):
        return {"times": self.times}

    def set_state(self, state):
        self.times = state["times"]


class Counted(keras.callbacks.Callback):
    """Counts the steps of each epoch, from its beginning."""

    def __init__(self):
        super().__init__()
        self.now, self.epochs = 0, []

    def on_epoch_begin(self, epoch, logs=None):
        self.now = 0

    def on_train_batch_end(self, batch, logs=None):
        self.now += 1

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append(self.now)
        logs["steps"] = float(self.now)

    def get_state(self):
        return {"now": self.now, "epochs": self.epochs}

    def set_state(self, state):
        self.now, self.epochs = state["now"], list(state["epochs"])


def annealed():
    weights = {"squared": keras.Variable(1.0, name="annealed", trainable=False)}
    return plain(cls=Terms, loss_weights=weights)


def sgd():
    return plain(optimizer=keras.optimizers.SGD(0.3))


def random():
    """Random states of every kind, moving averages, metrics."""
    noise = [Noise(0.5, seed=2), Noise(0.5), GlobalNoise()]
    return plain(*noise, keras.layers.BatchNormalization(name="norm"), metrics=["mae"])


def averaged():
    """A model whose end is more than its last step."""
    return plain(optimizer=keras.optimizers.Adam(0.1, use_ema=True, ema_momentum=0.5))


# Each case: the model, its callbacks, options of `fit`.
CASES = {
    "plain": (plain, list, {}),
    "random": (random, list, VALIDATION),
    "terms of training or validation alone": (lambda: plain(cls=Terms), list, VALIDATION),
    "loss weights": (annealed, lambda: [Annealed()], {}),
    "callbacks": (
        sgd,
        lambda: [Counted(), Plateau("loss", patience=1, min_delta=9.0)],
        {**VALIDATION, "validation_freq": 2},
    ),
    "early stopping": (
        sgd,
        lambda: [keras.callbacks.EarlyStopping("val_loss", patience=1, min_delta=9.0)],
        VALIDATION,
    ),
    "best weights": (
        sgd,
        lambda: [keras.callbacks.EarlyStopping("loss", mode="max", restore_best_weights=True)],
        {},
    ),
    "averages and class weights": (averaged, list, {"class_weight": {0: 1.0, 1: 3.0}}),
}


def saved(directory):
    """Epochs and steps of the checkpoints in a directory."""
    names = sorted(n for n in os.listdir(directory) if n.startswith("step-"))
    return [tuple(map(int, name.split("-")[1:])) for name in names]


def same(left, right):
    for part in left:
        assert left[part] == right[part]


# A plain job is in the tests below, the state of `EarlyStopping` in "best weights".
MORE_CASES = (
    "plain",
    "callbacks",
    "early stopping",
    "best weights",
    "averages and class weights",
)


@pytest.mark.parametrize(
    "case",
    [pytest.param(c, marks=pytest.mark.slow if c in MORE_CASES else ()) for c in CASES],
)
def test_resumed_as_if_never_ended(tmp_path, case):
    model, callbacks, options = CASES[case]
    options = {"job": {"save_freq": 1}, **options}
    whole = outcome(*fit(tmp_path / "whole", model, callbacks(), **options))
    with pytest.raises(Crash):
        fit(tmp_path / "job", model, callbacks(), act=("batch_end", 3, crash), **options)
    assert saved(tmp_path / "job")[-1] == (1, 1)
    same(outcome(*fit(tmp_path / "job", model, callbacks(), **options)), whole)


@pytest.mark.parametrize(
    "case",
    [
        "random",
        pytest.param("loss weights", marks=pytest.mark.slow),
        pytest.param("early stopping", marks=pytest.mark.slow),
    ],
)
def test_resumed_at_the_begin_of_an_epoch(tmp_path, case):
    model, callbacks, options = CASES[case]
    whole = outcome(*fit(tmp_path / "whole", model, callbacks(), **options))
    with pytest.raises(Crash):
        fit(tmp_path / "job", model, callbacks(), act=("batch_end", 2, crash), **options)
    assert saved(tmp_path / "job") == [(1, 0)]
    same(outcome(*fit(tmp_path / "job", model, callbacks(), **options)), whole)


@pytest.mark.slow
def test_callbacks_do_decide_in_these_jobs(tmp_path):
    for case, epochs in (("early stopping", [0, 1]), ("best weights", [0, 1])):
        model, callbacks, options = CASES[case]
        _, history = fit(tmp_path / case, model, callbacks(), **options)
        assert history.epoch == epochs
    model, callbacks, options = CASES["callbacks"]
    _, history = fit(tmp_path / "callbacks", model, callbacks(), **options)
    assert len(set(history.history["learning_rate"])) > 1


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What a plain job that was left alone ends with."""
    return outcome(*fit(tmp_path_factory.mktemp("whole")))


@pytest.mark.parametrize(
    "event",
    [
        pytest.param("epoch_begin", marks=pytest.mark.slow),
        "epoch_end",
        pytest.param("train_end", marks=pytest.mark.slow),
    ],
)
def test_between_steps_nothing_is_lost(tmp_path, whole, event):
    with pytest.raises(Crash):
        fit(tmp_path / "job", act=(event, 0 if event == "train_end" else 1, crash))
    same(outcome(*fit(tmp_path / "job")), whole)


@pytest.mark.slow
def test_ended_again_and_again_in_one_epoch(tmp_path):
    options = {"job": {"save_freq": 1}, "data": batches(batch_size=1), "epochs": 2}
    whole = outcome(*fit(tmp_path / "whole", **options))
    for number in (8, 1, 0):
        with pytest.raises(Crash):
            fit(tmp_path / "job", act=("batch_end", number, crash), **options)
    same(outcome(*fit(tmp_path / "job", **options)), whole)


def test_what_callbacks_count_within_an_epoch_goes_on(tmp_path):
    job = {"save_freq": 1}
    with pytest.raises(Crash):
        fit(tmp_path, callbacks=[Counted()], job=job, act=("batch_end", 3, crash))
    counted = Counted()
    fit(tmp_path, callbacks=[counted], job=job)
    assert counted.epochs == [STEPS] * 3


def test_a_checkpoint_every_few_steps_goes_on_counting(tmp_path):
    def saves(directory, **options):
        path = str(directory / "{epoch}.weights.h5")
        callback = keras.callbacks.ModelCheckpoint(path, save_freq=5, save_weights_only=True)
        saved = []
        callback._save_model = lambda epoch, batch, logs: saved.append(
            int(callback.model.optimizer.iterations)
        )
        with contextlib.suppress(Crash):
            fit(directory, callbacks=[callback], job={"save_freq": 1}, **options)
        return saved

    assert saves(tmp_path / "whole") == [5]
    assert saves(tmp_path / "job", act=("batch_end", 3, crash)) == []
    assert saves(tmp_path / "job") == [5]


def test_a_stop_in_the_last_step_of_a_resumed_epoch_is_kept(tmp_path):
    def stop(model):
        model.stop_training = int(model.optimizer.iterations) == 2 * STEPS

    job = {"save_freq": 1}
    with pytest.raises(Crash):
        fit(tmp_path, job=job, act=("batch_end", 3, crash))
    _, history = fit(tmp_path, job=job, act=("batch_end", 0, stop))
    assert history.epoch == [0, 1]
    _, history = fit(tmp_path, job=job)  # it is complete, though epochs are left
    assert history.epoch == [0, 1]


# Several steps at once


@pytest.mark.parametrize(
    ("at_once", "steps", "save_freq", "expected"),
    [
        pytest.param(  # 3 is passed at step 4
            *(2, 6, 3, [(0, 4), (1, 0), (1, 4), (2, 0)]), marks=pytest.mark.slow
        ),
        pytest.param(  # an epoch runs 6 steps
            *(3, 4, 1, [(0, 3), (1, 0), (1, 3), (2, 0)]), marks=pytest.mark.slow
        ),
        pytest.param(  # step 6 is the end of the epoch
            *(3, 5, 5, [(1, 0), (2, 0)]), marks=pytest.mark.slow
        ),
    ],
)
def test_several_steps_at_once(tmp_path, at_once, steps, save_freq, expected):
    def run(directory, **options):
        def model():
            return plain(Noise(0.5), run_eagerly=False, steps_per_execution=at_once)

        data = resumable_batches(X[:steps], Y[:steps], batch_size=1, seed=1)
        job = {"save_freq": save_freq, "keep": 9}
        return fit(directory, model, data=data, job=job, epochs=2, **options)

    whole = outcome(*run(tmp_path / "whole"))
    assert saved(tmp_path / "whole") == expected
    with pytest.raises(Crash):
        run(tmp_path / "job", act=("batch_end", 5 if at_once == 2 else 3, crash))
    same(outcome(*run(tmp_path / "job")), whole)


# The end of a job


def test_a_complete_job_leaves_its_final_state_alone(tmp_path):
    fit(tmp_path)
    before = {p: p.stat().st_ino for p in sorted(tmp_path.rglob("*"))}
    fit(tmp_path)
    assert {p: p.stat().st_ino for p in sorted(tmp_path.rglob("*"))} == before


@pytest.mark.slow
def test_a_complete_job_goes_on_when_it_is_given_more_epochs(tmp_path):
    whole = outcome(*fit(tmp_path / "whole", averaged))
    fit(tmp_path / "job", averaged, epochs=2)
    with pytest.raises(Crash):
        fit(tmp_path / "job", averaged, act=("train_end", 0, crash))
    # The final state of two epochs is there, that of three is not.
    for _ in ("to its end", "after its end"):
        same(outcome(*fit(tmp_path / "job", averaged)), whole)


def test_a_damaged_final_state_is_passed_over(tmp_path):
    whole = outcome(*fit(tmp_path, averaged))
    path = tmp_path / "final" / "state.bin"
    path.write_bytes(path.read_bytes()[:-1])
    same(outcome(*fit(tmp_path, averaged)), whole)


@pytest.mark.slow
def test_fewer_epochs_than_are_begun_train_and_save_nothing(tmp_path):
    job = {"save_freq": 1}
    whole = outcome(*fit(tmp_path / "whole", job=job))
    with pytest.raises(Crash):
        fit(tmp_path / "job", job=job, act=("batch_end", 3, crash))
    before = sorted(tmp_path.rglob("*"))
    _, history = fit(tmp_path / "job", job=job, epochs=1)
    assert history.epoch == [0]
    assert sorted(tmp_path.rglob("*")) == before
    same(outcome(*fit(tmp_path / "job", job=job)), whole)


@pytest.mark.slow
def test_the_next_fit_of_the_model_is_a_normal_one(tmp_path):
    with pytest.raises(Crash):
        fit(tmp_path, act=("batch_end", 3, crash))
    model, _ = fit(tmp_path)
    for _ in ("resumed", "complete"):
        assert model.fit(X, Y, epochs=2, verbose=0, batch_size=6).epoch == [0, 1]
        fit(tmp_path, model)


def test_no_epochs_leave_nothing_behind(tmp_path):
    fit(tmp_path, epochs=0)
    assert sorted(os.listdir(tmp_path)) == [".owner", "run.json"]


# SIGTERM


def terminate(model):
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture
def received():
    """SIGTERM as the process itself sees it."""
    numbers = []

    def handler(number, frame):
        numbers.append(number)

    before = signal.signal(signal.SIGTERM, handler)
    yield numbers
    assert signal.getsignal(signal.SIGTERM) is handler
    signal.signal(signal.SIGTERM, before)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("at", "newest"),
    [
        (("batch_end", 2), (1, 1)),
        (("batch_end", 2 * STEPS - 1), (2, 0)),
        (("epoch_begin", 1), (1, 1)),
        (("train_end", 0), (3, 0)),
    ],
    ids=["within an epoch", "at its end", "before its first step", "after the last"],
)
def test_sigterm_saves_and_exits(tmp_path, whole, received, at, newest):
    with pytest.raises(SystemExit) as raised:
        fit(tmp_path / "job", act=(*at, once(terminate)))
    assert raised.value.code == 143
    assert saved(tmp_path / "job")[-1] == newest
    assert received == []
    same(outcome(*fit(tmp_path / "job")), whole)


def once(act):
    calls = []

    def first(model):
        if not calls:
            calls.append(1)
            act(model)

    return first


def test_sigterm_that_could_not_be_followed_is_sent_again(tmp_path, received):
    def both(model):
        terminate(model)
        raise Crash

    with pytest.raises(Crash):
        fit(tmp_path, act=("batch_end", 0, both))
    assert received == [signal.SIGTERM]


def test_after_fit_sigterm_is_as_before(tmp_path, received):
    fit(tmp_path)
    terminate(None)
    assert received == [signal.SIGTERM]


def test_jobs_of_other_threads_do_not_see_sigterm(tmp_path, received):
    found = []
    thread = threading.Thread(target=lambda: found.append(fit(tmp_path)[1].epoch))
    thread.start()
    thread.join()
    assert found == [[0, 1, 2]]


# Who owns the directory


def test_a_job_within_the_job_is_refused(tmp_path):
    def again(model):
        ResumableJob(tmp_path, run_id="monday").fit(plain(), batches(), verbose=0)

    with pytest.raises(ValueError, match="with which another `fit` is training now"):
        fit(tmp_path, act=("batch_end", 0, again))
    fit(tmp_path)  # and the directory is free again


@pytest.mark.slow
def test_only_the_newest_checkpoints_stay(tmp_path):
    fit(tmp_path, epochs=2, job={"save_freq": 1, "keep": 2})
    found = sorted(os.listdir(tmp_path))
    steps = ["step-00000001-000000000001", "step-00000002-000000000000"]
    assert found == [".owner", "final", "run.json", *steps]
