"""What a step or a callback remembers beside the model is kept, or refused."""

import csv

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_trainsteps import LossAwareModel, losses
from tests.rolling.resume.crashes import STEPS, Crash, X, Y, crash, fit, outcome, plain

JOB = {"job": {"save_freq": 1}}


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


def resumed(tmp_path, model, callbacks=list, at=3, **options):
    """What a job ends with that was left alone, and one that was ended after a batch."""
    options = {**JOB, **options}
    whole = outcome(*fit(tmp_path / "whole", model, callbacks(), **options))
    with pytest.raises(Crash):
        fit(tmp_path / "job", model, callbacks(), act=("batch_end", at, crash), **options)
    return outcome(*fit(tmp_path / "job", model, callbacks(), **options)), whole


# What a step uses


def with_loss(make, **options):
    """A model whose loss is made anew, as in another process."""
    return lambda: plain(loss=make(), **options)


def of_keras():
    generator = keras.random.SeedGenerator(3)

    def noisy(y_true, y_pred):
        noise = keras.random.normal(keras.ops.shape(y_pred), seed=generator)
        return keras.ops.square(y_true - y_pred - noise)

    return noisy


def of_tensorflow():
    generator = tf.random.Generator.from_seed(3)

    def noisy(y_true, y_pred):
        return tf.square(y_true - y_pred - generator.normal(tf.shape(y_pred)))

    return noisy


def counting():
    count = tf.Variable(0.0)

    def weighted(y_true, y_pred):
        return count.assign_add(1.0) * tf.square(y_true - y_pred)

    return weighted


def drawing(draw):
    return lambda: lambda y_true, y_pred: tf.square(y_true - y_pred - draw(tf.shape(y_pred)))


KEPT = {"keras generator": of_keras, "tf generator": of_tensorflow, "counter": counting}


@pytest.mark.parametrize("loss", KEPT)
@pytest.mark.parametrize(
    "how",
    [
        {},
        pytest.param({"run_eagerly": False}, marks=pytest.mark.slow),
        pytest.param({"run_eagerly": False, "jit_compile": True}, marks=pytest.mark.slow),
        pytest.param({"run_eagerly": False, "steps_per_execution": 2}, marks=pytest.mark.slow),
    ],
    ids=["eager", "graph", "xla", "steps at once"],
)
def test_variables_that_a_loss_holds_are_kept(tmp_path, loss, how):
    at = 1 if "steps_per_execution" in how else 3
    job, whole = resumed(tmp_path, with_loss(KEPT[loss], **how), at=at)
    assert job == whole


@pytest.mark.parametrize(
    ("draw", "eagerly"),
    [
        (tf.random.uniform, True),
        (tf.random.normal, False),
        slow(tf.random.truncated_normal, True),
        slow(lambda shape: tf.random.gamma(shape, 2.0), False),
        slow(lambda shape: tf.random.poisson(shape, 1.0), True),
        slow(lambda _: tf.cast(tf.random.categorical(tf.zeros((3, 2)), 1), "float32"), False),
        slow(lambda _: tf.random.shuffle(tf.range(3.0))[:, None], True),
    ],
)
def test_random_numbers_from_a_hidden_state_are_refused(tmp_path, draw, eagerly):
    model = plain(loss=drawing(draw)(), run_eagerly=eagerly)
    before = model.get_weights()
    with pytest.raises(ValueError, match="must draw random numbers from a generator whose"):
        fit(tmp_path, model)
    for left, right in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(left, right)


def test_a_fit_after_a_refusal_is_a_normal_one(tmp_path):
    model = plain(loss=drawing(tf.random.normal)())
    with pytest.raises(ValueError, match="whose state nobody can read"):
        fit(tmp_path, model)
    assert model.fit(X, Y, verbose=0).epoch == [0]


def test_random_numbers_in_validation_are_seen_too(tmp_path):
    class Noisy(LossAwareModel):
        def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
            noise = 0.0 if training else tf.random.normal(tf.shape(y_pred))
            return {"squared": keras.ops.square(y_pred - y - noise)}

    with pytest.raises(ValueError, match="whose state nobody can read"):
        fit(tmp_path, plain(cls=Noisy), validation_data=(X, Y))


def test_python_code_in_a_step_is_refused_unless_it_remembers_nothing(tmp_path):
    def called(**options):
        def loss(y_true, y_pred):
            weight = tf.numpy_function(lambda y: y + 1.0, [y_true], tf.float32, **options)
            return tf.reshape(weight, tf.shape(y_pred)) * tf.square(y_true - y_pred)

        return loss

    with pytest.raises(ValueError, match=r"tf.numpy_function\(..., stateful=False\)"):
        fit(tmp_path / "a", plain(loss=called(), run_eagerly=False))
    fit(tmp_path / "b", plain(loss=called(stateful=False), run_eagerly=False), epochs=1)


class Ranked(LossAwareModel):
    """Draws with what the class holds, and not the model."""

    def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
        ids = keras.ops.cast(keras.ops.zeros_like(y), "int32")[:, 0]
        return {"rank": type(self).loss(y[:, 0], y_pred[:, 0], query_ids=ids)}


def ranked(make):
    def model():
        kind = type("Drawn", (Ranked,), {"loss": staticmethod(make())})
        return plain(cls=kind)

    return model


def list_mle(**options):
    return lambda: lambda y, p, **ids: losses.list_mle(y, p, ties="random", **options, **ids)


def generator():
    return keras.random.SeedGenerator(5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "loss",
    [
        slow(list_mle(seed=4)),
        lambda: list_mle(seed=generator())(),
        slow(lambda: losses.with_gumbel(losses.softmax, samples=2, seed=generator())),
        slow(lambda: losses.with_gumbel(losses.softmax, samples=2, seed=3)),
        lambda: losses.with_gumbel(losses.softmax, samples=2),
        slow(list_mle()),
    ],
    ids=["fixed", "generator", "gumbel", "gumbel fixed", "gumbel unseeded", "unseeded"],
)
def test_what_ranking_losses_draw_is_kept(tmp_path, loss):
    job, whole = resumed(tmp_path, ranked(loss))
    assert job == whole


def test_a_variable_that_a_callback_changes_and_a_step_reads_is_kept(tmp_path):
    made = {}

    def loss():
        made["scale"] = scale = keras.Variable(1.0)
        return lambda y_true, y_pred: scale * keras.ops.square(y_true - y_pred)

    class Halved(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            made["scale"].assign(made["scale"] * 0.5)

    model = with_loss(loss)
    job, whole = resumed(
        tmp_path, model, lambda: [Halved()], job={"stateless": (Halved,), "save_freq": 1}
    )
    assert job == whole
    assert float(made["scale"]) == 0.5 ** (3 * STEPS)


# What callbacks remember


@pytest.mark.slow
@pytest.mark.parametrize(
    ("append", "at"),
    [
        (False, ("batch_end", 3)),
        (True, ("epoch_end", 1)),
        slow(True, ("batch_end", 3)),
        slow(False, ("epoch_end", 1)),
        slow(False, ("train_end", 0)),
    ],
)
def test_a_log_has_each_epoch_once(tmp_path, append, at):
    made = []

    def logger(name):
        made.append(keras.callbacks.CSVLogger(tmp_path / f"{name}.csv", append=append))
        return made[-1]

    options = {"validation_data": (X, Y), "validation_freq": 2, **JOB}
    for name in ("whole", "job"):
        if append:
            (tmp_path / f"{name}.csv").write_text("epoch,loss,val_loss\r\n9,1.0,NA\r\n")
    fit(tmp_path / "whole", callbacks=[logger("whole")], **options)
    with pytest.raises(Crash):
        fit(tmp_path / "job", callbacks=[logger("job")], act=(*at, crash), **options)
    made[-1].csv_file.close()  # as the end of a process does
    for _ in ("resumed", "complete"):
        fit(tmp_path / "job", callbacks=[logger("job")], **options)
        whole = (tmp_path / "whole.csv").read_bytes()
        assert (tmp_path / "job.csv").read_bytes() == whole
    rows = list(csv.DictReader(whole.decode().splitlines()))
    assert [row["epoch"] for row in rows] == ["9"] * append + ["0", "1", "2"]


def test_files_are_named_by_the_batch_of_the_epoch(tmp_path):
    def saving(folder):
        path = str(tmp_path / folder / "{epoch}-{batch}.weights.h5")
        return keras.callbacks.ModelCheckpoint(path, save_freq=1, save_weights_only=True)

    def saved(folder):
        return sorted(path.name for path in (tmp_path / folder).iterdir())

    fit(tmp_path / "whole", callbacks=[saving("a")], **JOB)
    with pytest.raises(Crash):
        fit(tmp_path / "job", callbacks=[saving("b")], act=("batch_end", 2, crash), **JOB)
    fit(tmp_path / "job", callbacks=[saving("b")], **JOB)
    assert saved("b") == saved("a") == [f"{e}-{b}.weights.h5" for e in (1, 2, 3) for b in (1, 2)]


def test_tensorboard_goes_on_counting(tmp_path):
    def board():
        return keras.callbacks.TensorBoard(tmp_path / "logs", update_freq=1)

    with pytest.raises(Crash):
        fit(tmp_path / "job", callbacks=[board()], act=("batch_end", 3, crash), **JOB)
    resumed_one = board()
    fit(tmp_path / "job", callbacks=[resumed_one], **JOB)
    assert vars(resumed_one)["_global_train_batch"] == 3 * STEPS


class Patient(keras.callbacks.EarlyStopping):
    """A subclass with a count of its own."""

    def __init__(self):
        super().__init__("loss", patience=9)
        self.epochs = 0

    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, logs)
        self.epochs += 1


class Kept(Patient):
    def get_state(self):
        return {"epochs": self.epochs}

    def set_state(self, state):
        self.epochs = state["epochs"]


def test_a_subclass_with_state_of_its_own_says_it(tmp_path):
    match = "Patient, of which nothing but what it has of EarlyStopping is known"
    with pytest.raises(ValueError, match=match):
        fit(tmp_path / "refused", callbacks=[Patient()])
    with pytest.raises(Crash):
        fit(tmp_path, callbacks=[Kept()], act=("epoch_begin", 2, crash))
    kept = Kept()
    fit(tmp_path, callbacks=[kept])
    assert (kept.epochs, kept.wait + kept.best_epoch) == (3, 2)


def counting_in_a_name():
    count = 0

    def act(epoch, logs):
        nonlocal count
        count += 1

    return act


def counting_in_a_list():
    seen = []
    return lambda epoch, logs: seen.append(epoch)


def writing(path):
    file = open(path, "w")  # noqa: SIM115
    return lambda epoch, logs: file.write(str(epoch))


LAMBDA = keras.callbacks.LambdaCallback


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (counting_in_a_name, "'.*act' counts in 'count'"),
        (counting_in_a_list, "changes what it holds of .*seen"),
    ],
)
def test_a_function_that_counts_is_refused(tmp_path, make, match):
    with pytest.raises(ValueError, match=match):
        fit(tmp_path, callbacks=[LAMBDA(on_epoch_end=make())])
    assert not list(tmp_path.glob("step-*"))
    fit(
        tmp_path / "way out",
        callbacks=[LAMBDA(on_epoch_end=make())],
        job={"stateless": (LAMBDA,)},
    )


def test_a_function_that_writes_to_a_file_is_refused(tmp_path):
    acting = writing(tmp_path / "log")
    with pytest.raises(ValueError, match="writes to the file 'file'"):
        fit(tmp_path / "job", callbacks=[LAMBDA(on_epoch_end=acting)])
    acting.__closure__[0].cell_contents.close()


def test_functions_that_only_read_are_taken(tmp_path):
    rates, model = [0.1, 0.05, 0.01], plain()
    seen = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: model.optimizer.learning_rate.assign(rates[epoch])
    )
    rate = keras.callbacks.LearningRateScheduler(lambda epoch: rates[epoch])
    optimizer = model.optimizer
    halving = LAMBDA(on_train_batch_end=lambda batch, logs: optimizer.learning_rate.assign(0.5))
    fit(tmp_path, model, [seen, rate, halving])


def test_a_variable_of_a_function_is_kept(tmp_path):
    count = keras.Variable(0.0)
    acting = LAMBDA(on_epoch_end=lambda epoch, logs: count.assign_add(1.0))
    with pytest.raises(Crash):
        fit(tmp_path, callbacks=[acting], act=("epoch_begin", 1, crash))
    count.assign(7.0)
    fit(tmp_path, callbacks=[acting])
    assert float(count) == 3


def test_validation_data_that_is_used_up_is_refused(tmp_path):
    with pytest.raises(ValueError, match="whose place is not known after a crash"):
        fit(tmp_path, validation_data=iter([(X, Y)]))


@pytest.mark.parametrize("layers", [1, slow(3)])
def test_names_that_keras_counts_do_not_matter(tmp_path, layers):
    class Seen(keras.metrics.Mean):
        def __init__(self):
            super().__init__(name="seen")

        def update_state(self, y_true, y_pred, sample_weight=None):
            super().update_state(y_pred)

    def model():
        inputs = keras.Input((3,))
        hidden = inputs
        for _ in range(layers):
            hidden = keras.layers.Dropout(0.5)(keras.layers.Dense(2)(hidden))
        found = keras.Model(inputs, keras.layers.Dense(1)(hidden))
        found.compile(keras.optimizers.Adam(), loss="mse", metrics=[Seen()], run_eagerly=True)
        return found

    job, whole = resumed(tmp_path, model)
    assert job["state"] == whole["state"]
    assert job["history"] == whole["history"]


def test_a_metric_whose_name_keras_counts_is_refused_under_another(tmp_path):
    class Seen(keras.metrics.Mean):
        def __init__(self):
            super().__init__(name=None)

    def model():
        return plain(metrics=[Seen()])

    fit(tmp_path, model, epochs=0)
    with pytest.raises(ValueError, match=r"'metrics\[0\].name' is seen_1, was seen"):
        fit(tmp_path, model, epochs=0)
