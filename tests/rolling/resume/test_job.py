"""What a resumable job refuses."""

import keras
import numpy as np
import pytest

from keras_trainsteps.rolling import ResumableJob
from tests.rolling.resume.crashes import X, batches, fit, outcome, plain


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """The directory of a complete job."""
    directory = tmp_path_factory.mktemp("begun")
    fit(directory, epochs=1)
    return directory


def test_another_job_is_refused(begun):
    model = plain(optimizer=keras.optimizers.Adam())
    before = model.get_weights()
    with pytest.raises(ValueError, match=r"which belongs to 'monday'.*use `warm_start`"):
        fit(begun, model, job={"run_id": "tuesday"})
    for left, right in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"data": batches(seed=2)}, "'data' is"),
        ({"data": batches(batch_size=2)}, "'data' is"),
        (
            {"class_weight": {0: 1.0, 1: 2.0}},
            r"'class_weight.0' is 1.0, was None; 'class_weight.1' is 2.0, was None",
        ),
        ({"model": lambda: plain(optimizer=keras.optimizers.Adam())}, r"'optimizer' is .*Adam"),
        (
            {"model": lambda: plain(optimizer=keras.optimizers.SGD(0.1))},
            r"'optimizer.momentum' is 0.0, was 0.9",
        ),
        ({"model": lambda: plain(keras.layers.Dense(2))}, "'model.layers.dense.* is"),
        (
            {"model": lambda: plain(run_eagerly=False, steps_per_execution=2)},
            "'steps_per_execution' is 2, was 1",
        ),
        ({"callbacks": [keras.callbacks.EarlyStopping("loss")]}, "'callbacks' is"),
    ],
)
def test_a_changed_job_is_refused(begun, changed, match):
    with pytest.raises(ValueError, match=match):
        fit(begun, **changed)


def test_a_changed_model_of_the_same_layers_is_refused(begun):
    model = plain()
    model.add_weight(name="new", shape=(), trainable=False)
    with pytest.raises(ValueError, match=r"'model.weights.new' is .*, was None"):
        fit(begun, model)


def test_callbacks_of_unknown_state_are_refused(tmp_path):
    class Own(keras.callbacks.Callback):
        pass

    with pytest.raises(ValueError, match="Received: Own, of which nothing is known"):
        fit(tmp_path, callbacks=[Own()])
    assert not list(tmp_path.iterdir())
    fit(tmp_path, callbacks=[Own()], job={"stateless": (Own,)}, epochs=1)


def test_models_that_cannot_be_resumed_are_refused(tmp_path, monkeypatch):
    job = ResumableJob(tmp_path / "job", run_id="x")
    uncompiled = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    with pytest.raises(ValueError, match="`model` must be compiled with an optimizer"):
        job.fit(uncompiled, batches())
    unbuilt = keras.Sequential([keras.layers.Dense(1)])
    unbuilt.compile("sgd", loss="mse")
    with pytest.raises(ValueError, match="`model` must be built"):
        job.fit(unbuilt, batches())

    class Strategy:
        num_replicas_in_sync = 2

    model = plain()
    monkeypatch.setattr(type(model), "distribute_strategy", Strategy())
    with pytest.raises(ValueError, match=r"on one replica.*Received: .* on 2 replicas"):
        job.fit(model, batches())
    assert not (tmp_path / "job").exists()


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"run_id": ""}, "`run_id` must be"),
        ({"save_freq": 0}, "`save_freq` must be"),
        ({"save_freq": "batch"}, "`save_freq` must be"),
        ({"keep": 0}, "`keep` must be"),
    ],
)
def test_bad_arguments_are_refused(tmp_path, options, match):
    with pytest.raises(ValueError, match=match):
        ResumableJob(tmp_path, **{"run_id": "x", **options})


def test_other_batches_are_refused(tmp_path):
    with pytest.raises(TypeError, match="`batches` must be what `resumable_batches` returns"):
        ResumableJob(tmp_path, run_id="x").fit(plain(), X)


def test_a_directory_with_other_things_is_refused(tmp_path):
    (tmp_path / "photo.jpg").write_text("x")
    with pytest.raises(ValueError, match="which holds other things"):
        fit(tmp_path)
    (tmp_path / "run.json").write_text('{"format": "x"}')
    with pytest.raises(ValueError, match="must be of format"):
        fit(tmp_path)


def newest(directory):
    return max(directory.glob("step-*"))


@pytest.mark.parametrize("share", [0, 0.999, None])
def test_a_damaged_checkpoint_is_passed_over(tmp_path, share):
    whole = outcome(*fit(tmp_path, epochs=2))
    path = newest(tmp_path) / "state.bin"
    content = path.read_bytes()
    if share is None:
        path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    else:
        path.write_bytes(content[: int(len(content) * share)])
    with pytest.warns(UserWarning, match="is damaged and passed over"):
        resumed = outcome(*fit(tmp_path, epochs=2))
    assert resumed == whole


def test_nothing_but_damage_is_an_error(tmp_path):
    fit(tmp_path, job={"keep": 1}, epochs=1)
    (newest(tmp_path) / "MANIFEST.json").write_text("{")
    with (
        pytest.warns(UserWarning, match="is damaged"),
        pytest.raises(ValueError, match="all are damaged"),
    ):
        fit(tmp_path, job={"keep": 1}, epochs=1)


def test_options_of_validation_are_passed_on(tmp_path):
    seen = []

    class Seen(keras.Model):
        def test_step(self, data):
            seen.append(len(data[0]))
            return super().test_step(data)

    options = {"validation_steps": 2, "validation_batch_size": 2, "validation_freq": 2}
    inputs = keras.Input((3,))
    model = Seen(inputs, keras.layers.Dense(1)(inputs))
    model.compile("sgd", loss="mse", run_eagerly=True)
    fit(tmp_path, model, validation_data=(X, X[:, :1]), **options)
    assert seen == [2, 2]  # of three batches, after the second of three epochs
