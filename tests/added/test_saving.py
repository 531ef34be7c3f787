"""Added losses and metrics in clones and files: they come along, or say that they do not."""

import json
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_trainsteps import LossAwareModel, LossAwareSequential, penalties
from keras_trainsteps.penalties import L2SP, TrainableCoefficient, WeightPenalty

RNG = np.random.default_rng(0)
X = RNG.normal(size=(10, 3)).astype("float32")
Y = RNG.normal(size=(10, 1)).astype("float32")


@keras.saving.register_keras_serializable("tests")
def registered_norm():
    """A function without arguments that a file can name."""
    return keras.ops.convert_to_tensor(2.0)


def penalty(coefficient=0.5):
    bounded = TrainableCoefficient(coefficient, bounds=(0.1, 2.0))
    return WeightPenalty(penalties.group_lasso, weights="*kernel", coefficient=bounded)


@keras.saving.register_keras_serializable("tests")
class CalledNetwork(LossAwareModel):
    """A model with `call`."""

    def __init__(self, width=4, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        self.hidden = keras.layers.Dense(width, "tanh")
        self.scores = keras.layers.Dense(1)

    def build(self, shape):
        self.hidden.build(shape)
        self.scores.build((None, self.width))

    def call(self, inputs):
        return self.scores(self.hidden(inputs))

    def get_config(self):
        return {**super().get_config(), "width": self.width}


@keras.saving.register_keras_serializable("tests")
class ItsOwn(CalledNetwork):
    """Adds its penalty itself."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.add_loss(penalty(), name="lasso")
        self.add_loss(lambda: keras.ops.sum(self.hidden.kernel**2), name="function")


@keras.saving.register_keras_serializable("tests")
class Forgets(CalledNetwork):
    """Writes a configuration of its own, without what is added."""

    def get_config(self):
        return {"width": self.width}


def functional():
    inputs = keras.Input((3,))
    hidden = keras.layers.Dense(4, "tanh", name="hidden")(inputs)
    model = LossAwareModel(inputs, keras.layers.Dense(1, name="scores")(hidden))
    model.add_loss(keras.ops.square(hidden), name="activity")
    model.add_metric(keras.ops.abs(hidden), name="size")
    model.add_metric(registered_norm, name="two")
    return with_penalties(model)


def called():
    model = CalledNetwork()
    model.build((None, 3))
    return with_penalties(model)


def its_own():
    model = ItsOwn(width=4)
    model.build((None, 3))
    return model


def sequential():
    layers = [keras.layers.Dense(4, "tanh"), keras.layers.Dense(1)]
    return with_penalties(LossAwareSequential([keras.Input((3,)), *layers]))


def with_penalties(model):
    model.add_loss(penalty(), name="lasso")
    model.add_loss(0.25)
    return model


BUILDS = [functional, called, its_own, sequential]


def logs_of(model):
    model.compile("sgd", loss="mse")
    return model.evaluate(X, Y, verbose=0, return_dict=True)


def copies(model, tmp_path):
    """A clone and a loaded model, with the weights of `model`."""
    is_sequential = isinstance(model, keras.Sequential)  # of which Keras clones no subclass
    clone = (
        type(model).from_config(model.get_config())
        if is_sequential
        else keras.models.clone_model(model)
    )
    if not clone.built:
        clone.build((None, 3))
    clone.set_weights(model.get_weights())
    model.save(tmp_path / "model.keras")
    return [clone, keras.models.load_model(tmp_path / "model.keras")]


@pytest.mark.parametrize(
    "build",
    [
        pytest.param(build, id=build.__name__, marks=pytest.mark.slow if i else ())
        for i, build in enumerate(BUILDS)
    ],
)
@pytest.mark.filterwarnings("ignore:Added loss 'function' is not saved")
def test_copies_have_the_terms_the_coefficients_and_the_numbers(build, tmp_path):
    model = build()
    assert any("lasso_coefficient" in weight.path for weight in model.trainable_weights)
    logs_of(model)
    model.fit(X, Y, epochs=2, verbose=0)
    expected = logs_of(model)
    assert {"loss", "lasso"} < set(expected)
    for copy in copies(model, tmp_path):
        assert type(copy) is type(model)
        assert logs_of(copy) == expected
        copy.fit(X, Y, verbose=0)


def test_a_function_that_a_file_cannot_hold_is_added_again_under_its_name(tmp_path):
    model = functional()
    model.add_loss(lambda: keras.ops.sum(model.get_layer("hidden").kernel ** 2), name="squares")
    expected = logs_of(model)
    with pytest.warns(UserWarning, match="'squares' is not saved: it is the Python function"):
        model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    with pytest.warns(UserWarning, match="'squares' is not saved: it is the Python function"):
        loaded.save(tmp_path / "again.keras")
    assert loaded.predict(X, verbose=0).tolist() == model.predict(X, verbose=0).tolist()
    loaded.compile("sgd", loss="mse")
    for use in (loaded.fit, loaded.evaluate):
        with pytest.raises(ValueError, match=r"'squares' was added.*which a file does not hold"):
            use(X, Y, verbose=0)
    loaded.add_loss(lambda: keras.ops.sum(loaded.get_layer("hidden").kernel ** 2), name="squares")
    assert logs_of(loaded) == expected


def test_a_term_that_is_not_wanted_any_more_is_removed(tmp_path):
    model = functional()
    expected = logs_of(model)
    model.add_loss(lambda: keras.ops.sum(model.get_layer("hidden").kernel ** 2), name="squares")
    with pytest.warns(UserWarning, match="'squares' is not saved"):
        model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    loaded.remove_term("squares")
    assert logs_of(loaded) == expected


def test_a_configuration_that_forgets_the_terms_says_so(tmp_path):
    model = Forgets()
    model.build((None, 3))
    model.save(tmp_path / "nothing_added.keras")
    with_penalties(model)
    forgotten = r"\['lasso', .*\] are not saved: `Forgets.get_config` leaves out"
    with pytest.warns(UserWarning, match=forgotten):
        model.save(tmp_path / "model.keras")
    with pytest.warns(UserWarning, match=forgotten):
        keras.models.clone_model(model)


def test_weights_files_hold_coefficients_by_name(tmp_path):
    model = functional()
    model.compile("sgd", loss="mse")
    model.fit(X, Y, epochs=3, verbose=0)
    model.save_weights(tmp_path / "model.weights.h5")
    other = functional()
    other.load_weights(tmp_path / "model.weights.h5")
    for one, same in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(one, same)

    renamed = functional()
    renamed.remove_term("lasso")
    renamed.add_loss(penalty(), name="group_lasso")
    by_name = "Trainable coefficients are loaded by name.*without .'group_lasso_coefficient'"
    with (
        pytest.warns(UserWarning, match="Skipping nested container"),  # Keras, on any failure
        pytest.raises(ValueError, match=by_name),
    ):
        renamed.load_weights(tmp_path / "model.weights.h5")


def test_the_summary_lists_coefficients():
    lines = []
    model = functional()
    model.summary(print_fn=lines.append)
    assert "added_terms" in "\n".join(lines)
    assert model.count_params() == 3 * 4 + 4 + 4 + 1 + 1


@pytest.mark.slow
def test_the_anchor_of_l2_sp_is_in_no_file(tmp_path):
    model = functional()
    plain = model.count_params()
    model.add_loss(L2SP(weights="*kernel", coefficient=0.1), name="l2_sp")
    model.compile("sgd", loss="mse")
    assert model.fit(X, Y, epochs=2, verbose=0).history["l2_sp"][1] > 0
    assert model.count_params() == plain
    model.save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        config = json.loads(archive.read("config.json"))
    kernels = [weight for weight in model.get_weights() if weight.ndim == 2]
    assert not any(f"{float(kernel.flat[0]):.6}" in json.dumps(config) for kernel in kernels)
    # The starting weights of a loaded model are those it was loaded with.
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.evaluate(X, Y, verbose=0, return_dict=True)["l2_sp"] == 0
    model.export(tmp_path / "exported", verbose=False)
    exported = tf.saved_model.load(tmp_path / "exported")
    shapes = sorted(tuple(variable.shape) for variable in exported.variables)
    assert shapes == sorted(tuple(weight.shape) for weight in model.weights)


@keras.saving.register_keras_serializable("tests")
class TwoAlike(LossAwareModel):
    """Two layers of one shape, made in either order."""

    order = ("a", "b")

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        for name in self.order:
            setattr(self, name, keras.layers.Dense(3, name=name))

    def build(self, shape):
        self.a.build(shape)
        self.b.build(shape)

    def call(self, inputs):
        return self.b(self.a(inputs))


def test_a_loaded_penalty_reads_the_weights_of_the_same_attributes(tmp_path, monkeypatch):
    model = TwoAlike()
    model.build((None, 3))
    model.add_loss(WeightPenalty(penalties.sum_of_norms, weights=[model.a]), name="norm")
    model.save(tmp_path / "model.keras")
    monkeypatch.setattr(TwoAlike, "order", ("b", "a"))
    loaded = keras.models.load_model(tmp_path / "model.keras")
    expected = np.linalg.norm(model.a.kernel.numpy())
    assert float(loaded.losses[0]) == pytest.approx(expected, rel=1e-6)
