"""When XLA compiles a step, and how often."""

import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_trainsteps import LossAwareModel, compat
from keras_trainsteps.data import query_batches
from tests.toy import UNKNOWN_LENGTH

X, Y = np.arange(24, dtype="float32").reshape(12, 2), np.arange(12, dtype="float32")[:, None]


class Watched(LossAwareModel):
    """A model that notes for which kinds of step XLA is asked."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(1)
        self.compiled_by_xla = []

    def call(self, x):
        if not tf.executing_eagerly() and isinstance(x, tf.Tensor):
            self.compiled_by_xla.append(compat.in_xla())
        return self.dense(x)


def watched(**options):
    model = Watched()
    model.compile("sgd", loss="mse", **options)
    model(X)
    return model


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        return X[index::2], Y[index::2]


def dataset(**options):
    return tf.data.Dataset.from_tensor_slices((X, Y)).batch(4, **options)


SOURCES = {
    "arrays": (lambda: (X, Y), True),
    "dataset of one shape": (lambda: (dataset(drop_remainder=True), None), True),
    "dataset": (lambda: (dataset(), None), False),
    "generator": (lambda: ((batch for batch in [(X, Y)]), None), False),
    "PyDataset": (lambda: (Batches(), None), False),
}


@pytest.fixture
def accelerator(monkeypatch):
    """Keras believes that there is one, and so compiles by XLA on its own."""
    devices = [types.SimpleNamespace(device_type="GPU")]
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda *_: devices)


@UNKNOWN_LENGTH
@pytest.mark.usefixtures("accelerator")
@pytest.mark.parametrize("method", ["fit", "evaluate", "predict"])
@pytest.mark.parametrize(("source", "one_shape"), SOURCES.values(), ids=SOURCES)
def test_auto_compiles_only_what_keeps_its_shape(source, one_shape, method):
    model = watched()
    x, y = source()
    given = {"fit": {"y": y, "shuffle": False}, "evaluate": {"y": y}, "predict": {}}[method]
    getattr(model, method)(x, **given, verbose=0)
    assert (True in model.compiled_by_xla) == one_shape


@pytest.mark.slow
@pytest.mark.usefixtures("accelerator")
def test_each_run_decides_anew():
    model = watched()
    for source in ("arrays", "dataset", "dataset", "arrays"):
        x, y = SOURCES[source][0]()
        model.compiled_by_xla.clear()
        model.fit(x, y, epochs=2, validation_data=dataset(), verbose=0)
        assert (True in model.compiled_by_xla) == (source == "arrays")


@pytest.mark.parametrize("auto", [False, True])
def test_without_an_accelerator_auto_is_the_graph(auto):
    model = watched(jit_compile="auto" if auto else False)
    model.fit(X, Y, verbose=0)
    assert True not in model.compiled_by_xla


@pytest.mark.usefixtures("accelerator")
def test_auto_is_saved_as_such(tmp_path):
    inputs = keras.Input((2,))
    models = [cls(inputs, keras.layers.Dense(1)(inputs)) for cls in (LossAwareModel, keras.Model)]
    saved = []
    for model in models:
        model.compile("sgd", loss="mse")
        model.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        saved.append(loaded.get_compile_config()["jit_compile"])
    assert saved[0] == "auto"
    assert saved[1] is True, "Keras has mended it: `compat.save_as_auto` may go"


def rows_of_batches(sizes):
    ids = np.repeat(np.arange(len(sizes)), sizes)
    x = {"features": np.ones((len(ids), 2), "float32"), "query_id": ids}
    return query_batches(x, np.ones(len(ids)), query_ids="query_id", batch_size=5, shuffle=False)


class Ranker(LossAwareModel):
    side_inputs = ("query_id",)


def test_a_step_that_is_compiled_for_each_batch_is_said_once():
    inputs = {"features": keras.Input((2,), name="features")}
    model = Ranker(inputs, keras.layers.Dense(1)(inputs["features"]))
    model.compile("sgd", loss="mse", jit_compile=True)
    batches = rows_of_batches([4, 5, 7, 6, 4, 5])
    number = len({len(y) for _, y in batches})
    assert number > 2
    with pytest.warns(UserWarning, match=f"batches of {number} different shapes .* as many"):
        model.fit(batches, verbose=0)
    model.fit(batches, verbose=0)  # warnings are errors


@pytest.mark.parametrize("rows", [8, 11])
def test_whole_batches_and_a_rest_are_not_worth_a_word(rows):
    model = watched(jit_compile=True)
    model.fit(X[:rows], Y[:rows], batch_size=4, epochs=2, validation_data=dataset(), verbose=0)
    assert True in model.compiled_by_xla


def test_batches_of_changing_shapes_are_said_once_in_a_loop_of_ones_own():
    model = watched(jit_compile=True)
    for rows in (3, 4, 3, 4):
        model.train_on_batch(X[:rows], Y[:rows])  # warnings are errors
    message = "batches of 3 different shapes up to now, and as many compilations"
    with pytest.warns(UserWarning, match=message) as said:
        model.train_on_batch(X[:5], Y[:5])
    assert said[0].filename == __file__
    model.train_on_batch(X[:6], Y[:6])


def test_batches_of_evaluation_are_told_apart():
    model = watched(jit_compile=True)
    for rows in (3, 4):
        model.test_on_batch(X[:rows], Y[:rows])
        model.train_on_batch(X[:rows], Y[:rows])
    with pytest.warns(UserWarning, match="batches of 3 different shapes up to now"):
        model.test_on_batch(X[:5], Y[:5])
