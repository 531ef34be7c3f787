"""What a resumable job refuses, and what its batches are."""

import os

import keras
import numpy as np
import pytest

from keras_trainsteps.rolling import ResumableCheckpoint, resumable_batches
from tests.rolling.models import ranker, ranking_data

X, Y = ranking_data()


def batches(**options):
    return resumable_batches(X["features"], Y, **{"batch_size": 10, "seed": 1, **options})


def model(optimizer="adam", units=1):
    keras.utils.set_random_seed(1)
    inputs = keras.Input((3,))
    net = keras.Model(inputs, keras.layers.Dense(units, name="out")(inputs))
    net.compile(optimizer, loss="mse", run_eagerly=True)
    return net


def fit(directory, *, run_id="monday", data=None, net=None, callbacks=(), **options):
    data = data or batches()
    checkpoint = ResumableCheckpoint(directory, data, run_id=run_id, **options)
    net = net or model()
    net.fit(**data.fit_arguments, epochs=2, callbacks=[*callbacks, checkpoint], verbose=0)
    return net


# Batches


def test_each_pass_holds_every_row_once_in_an_order_of_its_own():
    stream = batches(batch_size=7)
    passes = [
        np.concatenate([stream.rows(n * stream.steps_per_epoch + i) for i in range(6)])
        for n in range(3)
    ]
    for rows in passes:
        assert sorted(rows) == list(range(40))
    assert not np.array_equal(passes[0], passes[1])


def test_batches_hold_whole_queries():
    stream = resumable_batches(X, Y, query_ids="query_id", batch_size=12, seed=3)
    for step in range(2 * stream.steps_per_epoch):
        rows = stream.rows(step)
        for query in np.unique(X["query_id"][rows]):
            assert np.sum(X["query_id"][rows] == query) == np.sum(X["query_id"] == query)


def test_an_element_depends_on_the_seed_and_its_place_alone():
    whole = list(batches().from_step(0).take(11).as_numpy_iterator())
    for start in (7, 3, 10):
        part = next(iter(batches().from_step(start).as_numpy_iterator()))
        for left, right in zip(part, whole[start], strict=True):
            np.testing.assert_array_equal(left, right)
    other = next(iter(batches(seed=2).from_step(0).as_numpy_iterator()))
    assert not np.array_equal(other[0], whole[0][0])


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"batch_size": 0}, "`batch_size` must be"),
        ({"seed": None}, "`seed` must be"),
        ({"seed": -1}, "`seed` must be"),
        ({"query_ids": "q"}, "`query_ids` must name"),
    ],
)
def test_bad_batches_are_refused(options, match):
    with pytest.raises(ValueError, match=match):
        batches(**options)
    with pytest.raises(ValueError, match="one entry a row"):
        resumable_batches(X["features"], Y[:3], seed=1)
    with pytest.raises(ValueError, match="weights without `y`"):
        resumable_batches(X["features"], None, Y, seed=1)


# What is refused


def test_another_job_is_refused(tmp_path):
    weights = fit(tmp_path).get_weights()
    other = model("sgd")
    before = other.get_weights()
    with pytest.raises(ValueError, match=r"which belongs to 'monday'.*use `warm_start`"):
        fit(tmp_path, run_id="tuesday", net=other)
    for left, right in zip(other.get_weights(), before, strict=True):
        np.testing.assert_array_equal(left, right)
    again = fit(tmp_path)
    for left, right in zip(again.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"data": batches(seed=2)}, "'data' is"),
        ({"net": lambda: model("sgd")}, "'optimizer' is"),
        ({"net": lambda: model(keras.optimizers.Adam(beta_1=0.8))}, "'optimizer' is"),
        ({"net": lambda: model(units=2)}, "'layers' is"),
    ],
)
def test_a_changed_job_is_refused(tmp_path, changed, match):
    fit(tmp_path)
    changed = {key: value() if callable(value) else value for key, value in changed.items()}
    with pytest.raises(ValueError, match=match):
        fit(tmp_path, **changed)


def test_it_must_be_the_last_callback(tmp_path):
    data = batches()
    checkpoint = ResumableCheckpoint(tmp_path, data, run_id="x")
    late = keras.callbacks.TerminateOnNaN()
    with pytest.raises(ValueError, match=r"must be the last of `callbacks`.*TerminateOnNaN"):
        model().fit(**data.fit_arguments, callbacks=[checkpoint, late], verbose=0)


def test_callbacks_of_unknown_state_are_refused(tmp_path):
    class Own(keras.callbacks.Callback):
        pass

    with pytest.raises(ValueError, match="Received: Own, of which nothing is known"):
        fit(tmp_path, callbacks=[Own()])
    fit(tmp_path, callbacks=[Own()], stateless=(Own,))
    with pytest.raises(ValueError, match=r"`callbacks` must be those of the job"):
        fit(tmp_path)


def test_other_batches_and_unbuilt_models_are_refused(tmp_path):
    data = batches()
    checkpoint = ResumableCheckpoint(tmp_path, data, run_id="x")
    with pytest.raises(ValueError, match=r"must be called with `\*\*batches.fit_arguments`"):
        model().fit(X["features"], Y, callbacks=[checkpoint], verbose=0)
    with pytest.raises(ValueError, match="must be one of the `callbacks` of `fit`"):
        checkpoint.on_train_begin()


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
        ResumableCheckpoint(tmp_path, batches(), **{"run_id": "x", **options})
    with pytest.raises(TypeError, match="`batches` must be what"):
        ResumableCheckpoint(tmp_path, X, run_id="x")


def test_a_directory_with_other_things_is_refused(tmp_path):
    (tmp_path / "photo.jpg").write_text("x")
    with pytest.raises(ValueError, match="which holds other things"):
        fit(tmp_path)
    (tmp_path / "run.json").write_text('{"format": "x"}')
    with pytest.raises(ValueError, match="must be of format"):
        fit(tmp_path)


def newest(directory):
    return directory / max(n for n in os.listdir(directory) if n.startswith("step-"))


@pytest.mark.parametrize("share", [0, 0.3, 0.999, None])
def test_a_damaged_checkpoint_is_passed_over(tmp_path, share):
    expected = fit(tmp_path / "a").get_weights()
    fit(tmp_path / "b")
    path = newest(tmp_path / "b") / "state.bin"
    content = path.read_bytes()
    if share is None:
        path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    else:
        path.write_bytes(content[: int(len(content) * share)])
    with pytest.warns(UserWarning, match="is damaged and passed over"):
        resumed = fit(tmp_path / "b")
    for left, right in zip(resumed.get_weights(), expected, strict=True):
        np.testing.assert_array_equal(left, right)


def test_nothing_but_damage_is_an_error(tmp_path):
    fit(tmp_path, keep=1)
    (newest(tmp_path) / "MANIFEST.json").write_text("{")
    with (
        pytest.warns(UserWarning, match="is damaged"),
        pytest.raises(ValueError, match="all are damaged"),
    ):
        fit(tmp_path, keep=1)


def test_a_second_fit_in_the_same_process_is_a_normal_one(tmp_path):
    net = fit(tmp_path)
    fit(tmp_path, net=net)
    history = net.fit(X["features"], Y, epochs=3, verbose=0)
    assert history.epoch == [0, 1, 2]


def test_only_the_newest_checkpoints_stay(tmp_path):
    fit(tmp_path, keep=2, save_freq=1)
    names = sorted(n for n in os.listdir(tmp_path) if not n.startswith("."))
    assert names[0] == "final"
    assert names[-2:] == ["step-00000001-000000000003", "step-00000002-000000000000"]
    assert len(names) == 4


def test_no_epochs_leave_nothing_behind(tmp_path):
    data = batches()
    checkpoint = ResumableCheckpoint(tmp_path, data, run_id="x")
    ranker_model = ranker()
    ranker_model.compile("adam")
    ranker_model.fit(
        **resumable_batches(X, Y, query_ids="query_id", batch_size=10, seed=1).fit_arguments,
        epochs=0,
        callbacks=[checkpoint],
        verbose=0,
    )
    assert sorted(os.listdir(tmp_path)) == [".owner", "run.json"]
