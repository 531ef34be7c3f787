"""`.keras` files: what is saved trains on after loading, also in another process."""

import copy
import pickle
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_trainsteps import LossAwareModel, LossAwareSequential, losses, metrics, penalties
from tests.models import Ranker, linear, ranking_batch

X, Y = ranking_batch()


@keras.saving.register_keras_serializable("tests")
class Called(Ranker):
    """A model with `call`, of a width."""

    def __init__(self, width=4, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        self.hidden = keras.layers.Dense(width, "tanh")
        self.scores = keras.layers.Dense(1)

    def call(self, inputs):
        return self.scores(self.hidden(inputs["features"]))

    def get_config(self):
        return {**super().get_config(), "width": self.width}


def compiled_ranker():
    model = linear()
    model.compile(
        keras.optimizers.Adam(0.1),
        loss=losses.Softmax("query_id"),
        loss_weights={"softmax_loss": 2.0},
        metrics=[metrics.NDCG("query_id", k=3), metrics.PairAccuracy("query_id")],
    )
    return model


def hooked():
    model = linear(Ranker)
    model.compile(
        "adam", loss_weights={"ranking": keras.Variable(0.5, trainable=False)}, metrics=["mae"]
    )
    return model


def called():
    model = Called(width=5)
    model.compile("adam", loss="mse")
    return model


def with_additions():
    inputs = keras.Input((3,), name="features")
    hidden = keras.layers.Dense(4, name="first")(inputs)
    model = Ranker(inputs, keras.layers.Dense(1, name="last")(hidden))
    penalty = penalties.WeightPenalty(
        penalties.sum_of_norms,
        weights=["first/kernel", "last/kernel"],
        coefficient=penalties.TrainableCoefficient(0.5, bounds=(0.1, 2.0)),
    )
    model.add_loss(penalty, name="norms")
    model.add_loss(0.1 * keras.ops.square(hidden), name="activity")
    model.add_metric(keras.ops.abs(hidden), name="size")
    weighting = penalties.UncertaintyWeighting(["ranking", "squared"])
    model.add_loss(weighting, name="weighting")
    model.compile(keras.optimizers.Adam(0.1), loss_weights={"norms": 0.1})
    return model


def sequential():
    model = LossAwareSequential([keras.layers.Dense(1)])
    model.compile("adam", loss=losses.ListMLE("query_id"))
    return model


BUILDS = [compiled_ranker, hooked, with_additions, called, sequential]


def fit(model, epochs):
    history = model.fit(
        X, Y, epochs=epochs, batch_size=24, shuffle=False, verbose=0, validation_data=(X, Y)
    ).history
    # A weight that is a variable is saved as the number it holds, which does not vary.
    return {name: values for name, values in history.items() if not name.endswith("_weighted")}


@pytest.mark.parametrize(
    "build",
    [
        pytest.param(
            build, id=build.__name__, marks=() if build is with_additions else pytest.mark.slow
        )
        for build in BUILDS
    ],
)
def test_a_loaded_model_trains_on_as_if_never_saved(build, tmp_path):
    keras.utils.set_random_seed(3)
    uninterrupted = fit(build(), 4)
    keras.utils.set_random_seed(3)
    model = build()
    fit(model, 2)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded).__name__ == type(model).__name__
    assert isinstance(loaded, LossAwareModel)
    resumed = fit(loaded, 2)
    assert resumed == {name: values[2:] for name, values in uninterrupted.items()}


def test_the_file_holds_no_trackers_and_no_side_inputs(tmp_path):
    model = compiled_ranker()
    fit(model, 1)
    model.save_weights(tmp_path / "model.weights.h5")
    plain = linear(keras.Model)
    plain.compile(keras.optimizers.Adam(0.1), loss="mse")
    plain.optimizer.build(plain.trainable_variables)
    plain.load_weights(tmp_path / "model.weights.h5")
    assert all(
        (a == b).all() for a, b in zip(plain.get_weights(), model.get_weights(), strict=True)
    )


@pytest.mark.slow
def test_a_clone_is_of_the_same_class():
    model = hooked()
    clone = keras.models.clone_model(model)
    assert isinstance(clone, Ranker)
    clone.set_weights(model.get_weights())
    clone.compile("adam", loss_weights={"ranking": 0.5}, metrics=["mae"])
    assert fit(clone, 1) == fit(model, 1)


SCRIPT = """
import sys, keras, keras_trainsteps, numpy as np
folder = sys.argv[1]
data = np.load(f"{folder}/data.npz")
x = {name: data[name] for name in ("features", "query_id")}
for name in sys.argv[2:]:
    if name == "called":
        import tests.test_saving  # a class of the user's
    model = keras.models.load_model(f"{folder}/{name}.keras")
    history = model.fit(x, data["y"], batch_size=24, shuffle=False, verbose=0).history
    print("LOGS", name, sorted(history.items()))
"""


@pytest.mark.slow
def test_models_load_and_train_on_in_a_fresh_process(tmp_path):
    np.savez(tmp_path / "data.npz", **X, y=Y)
    expected = []
    builds = (compiled_ranker, called, with_additions)
    for build in builds:
        model = build()
        fit(model, 1)
        model.save(tmp_path / f"{build.__name__}.keras")
        logs = model.fit(X, Y, batch_size=24, shuffle=False, verbose=0).history
        expected.append(f"LOGS {build.__name__} {sorted(logs.items())}")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, tmp_path, *(build.__name__ for build in builds)],
        capture_output=True,
        text=True,
    )
    assert [line for line in done.stdout.splitlines() if "LOGS" in line] == expected, done.stderr


def dense_graph():
    return linear()


@keras.saving.register_keras_serializable("tests_of_copies")
class Stacked(LossAwareModel):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(1)

    def call(self, inputs):
        return self.dense(inputs)


def dense_called():
    return Stacked()


def dense_sequence():
    return LossAwareSequential([keras.layers.Dense(1)])


def pickled(model):
    return pickle.loads(pickle.dumps(model))


@pytest.mark.parametrize(
    ("build", "copied"),
    [
        pytest.param(build, copied, marks=() if place == other else pytest.mark.slow)
        for place, build in enumerate([dense_graph, dense_called, dense_sequence])
        for other, copied in enumerate([copy.deepcopy, pickled])
    ],
)
def test_a_copy_predicts_and_trains_as_the_model(build, copied):
    model = build()
    model.compile(keras.optimizers.SGD(0.1), loss="mse")
    x, y = np.ones((4, 3), "float32"), np.zeros((4, 1), "float32")
    model.fit(x, y, verbose=0)
    other = copied(model)
    assert isinstance(other, LossAwareModel)
    np.testing.assert_array_equal(other.predict(x, verbose=0), model.predict(x, verbose=0))
    assert other.evaluate(x, y, verbose=0) == model.evaluate(x, y, verbose=0)


def in_a_sequence():
    model = LossAwareSequential([keras.Input((3,)), keras.layers.Dense(1)])
    metric = keras.metrics.MeanAbsoluteError("error")  # `.h5` renames "mae"
    model.compile("adam", loss=keras.losses.Huber(), metrics=[metric])
    return model


def inside_another():
    inputs = keras.Input((3,))
    model = LossAwareModel(inputs, linear(LossAwareModel)(inputs))
    model.compile("adam", loss=keras.losses.Huber())
    return model


@pytest.mark.slow
@pytest.mark.parametrize("extension", ["h5", "keras"])
@pytest.mark.parametrize(
    "make",
    [
        compiled_ranker,
        in_a_sequence,
        inside_another,
    ],
)
def test_no_class_of_the_library_need_be_named_to_load_a_file(make, extension, tmp_path):
    model = make()
    x, y = (X, Y) if make is compiled_ranker else (X["features"], Y)
    model.fit(x, y, verbose=0)
    expected = model.evaluate(x, y, verbose=0, return_dict=True)
    model.save(tmp_path / f"model.{extension}")
    loaded = keras.saving.load_model(tmp_path / f"model.{extension}")
    assert isinstance(loaded, LossAwareModel)
    assert loaded.evaluate(x, y, verbose=0, return_dict=True) == expected
