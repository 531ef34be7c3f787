"""What Keras loads without a word, and a warm start refuses."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_trainsteps import LossAwareModel
from keras_trainsteps.rolling import save_for_training, warm_start
from tests.rolling.warm_start.starts import (
    Dense,
    compiled,
    randomized,
    refused,
    sequential,
)


def two(first="user", second="item"):
    return sequential(Dense(4, name=first), Dense(4, name=second))


def branches(left="user", right="item", inputs=("u", "i")):
    given = {name: keras.Input((4,), name=name) for name in ("u", "i")}
    towers = [Dense(4, name=n)(i) for n, i in zip((left, right), given.values(), strict=True)]
    difference = keras.layers.Subtract(name="minus")(towers)
    return keras.Model([given[name] for name in inputs], difference)


def blocks(number):
    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.blocks = [Dense(4) for _ in range(number)]

        def call(self, x):
            for block in self.blocks:
                x = block(x)
            return x

    net = Net()
    net(np.ones((1, 4)))
    return net


def scaled(factor):
    inputs = keras.Input((4,))
    return keras.Model(inputs, Dense(4, name="a")(inputs) * factor)


def with_dtype(policy):
    return sequential(Dense(4, name="a", dtype=policy))


SILENT_IN_KERAS = {
    "fewer layers": (
        lambda: sequential(Dense(4, name="a"), Dense(4, name="b")),
        lambda: sequential(Dense(4, name="a")),
        "b: a layer of the source that the model lacks",
    ),
    "more layers": (
        lambda: sequential(Dense(4, name="a")),
        lambda: sequential(Dense(4, name="a"), Dense(4, name="b")),
        "b: a layer of the model that the source lacks",
    ),
    "swapped layers of a sequence": (two, lambda: two("item", "user"), "user: called on"),
    "swapped towers": (branches, lambda: branches("item", "user"), "user: called on"),
    "other activation": (
        lambda: sequential(Dense(4, "relu", name="a")),
        lambda: sequential(Dense(4, "tanh", name="a")),
        "a: activation is 'relu' in the source, 'tanh' in the model",
    ),
    "activation layer gone": (
        lambda: sequential(Dense(4, name="a"), keras.layers.ReLU(name="relu")),
        lambda: sequential(Dense(4, name="a")),
        "relu: a layer of the source",
    ),
    "other constant": (lambda: scaled(2.0), lambda: scaled(3.0), "multiply: called on"),
    "other variable dtype": (
        lambda: with_dtype("float32"),
        lambda: with_dtype("float16"),
        "a/kernel: dtype float32 in the source, float16 in the model",
    ),
    "other compute dtype": (
        lambda: with_dtype("float32"),
        lambda: with_dtype("mixed_float16"),
        "a: dtype.config.name is 'float32' in the source, 'mixed_float16' in the model",
    ),
    "other shape": (
        lambda: sequential(Dense(4, name="a")),
        lambda: sequential(Dense(5, name="a")),
        "a: units is 4 in the source, 5 in the model",
    ),
    "fewer blocks": (lambda: blocks(3), lambda: blocks(2), "blocks/2: a layer of the source"),
    "other class": (
        lambda: sequential(keras.layers.ReLU(name="a")),
        lambda: sequential(keras.layers.Softmax(name="a")),
        "a: class ReLU in the source, Softmax in the model",
    ),
    "more blocks": (lambda: blocks(2), lambda: blocks(3), "blocks/2: a layer of the model"),
    "dropped attribute": (
        lambda: towers(("user", "item", "spare")),
        lambda: towers(("user", "item")),
        "spare: a layer of the source",
    ),
    "swapped inputs": (
        branches,
        lambda: branches(inputs=("i", "u")),
        r"\(inputs\): called on",
    ),
    "renamed attribute": (
        lambda: towers(("user", "item")),
        lambda: towers(("user_tower", "item")),
        "user: a layer of the source",
    ),
}


@pytest.mark.parametrize("case", SILENT_IN_KERAS)
def test_silent_mismatches_are_refused(case):
    source, model, match = SILENT_IN_KERAS[case]
    refused(compiled(model(), seed=1), compiled(source()), match)


def towers(names, order=None):
    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            for name in order or names:
                setattr(self, name, Dense(4))
                getattr(self, name).build((None, 4))

        def call(self, x):
            return getattr(self, names[0])(x) - getattr(self, names[1])(x)

    net = Net()
    net(np.ones((1, 4)))
    return net


@pytest.mark.parametrize("names", [("query_tower", "user_tower"), ("ad_tower", "bid_tower")])
def test_the_order_of_lines_in_init_does_not_matter(names):
    source = randomized(towers(names))
    model = towers(names, order=names[::-1])
    warm_start(model, source)
    x = np.ones((2, 4), "float32")
    np.testing.assert_array_equal(model(x), source(x))


class Weighted(LossAwareModel):
    """A dict of coefficients."""

    def __init__(self, names):
        super().__init__()
        self.coefficients = {
            name: self.add_weight(name="coefficient", shape=()) for name in names
        }
        self.net = Dense(4)

    def call(self, x):
        return self.net(x)


def weighted(names):
    model = Weighted(names)
    model(np.ones((1, 4)))
    return model


def test_coefficients_are_known_by_name():
    source = weighted("ab")
    source.coefficients["a"].assign(7.0)
    source.coefficients["b"].assign(8.0)
    model = weighted("ba")
    warm_start(model, source)
    assert {name: float(v) for name, v in model.coefficients.items()} == {"a": 7, "b": 8}
    refused(weighted("ac"), source, r"coefficients/c: a weight of the model")
    report = warm_start(weighted("ac"), source, rename={"coefficients/b": "coefficients/c"})
    assert "coefficients/c" in report.loaded


class Owner(LossAwareModel):
    """Weights of the model itself that an attribute holds, or nothing does."""

    def __init__(self, *names, held=False, trainable=True):
        super().__init__()
        self.net = Dense(4)
        for number, name in enumerate(names):
            made = self.add_weight(name=name, shape=(2,), trainable=trainable)
            if held:
                setattr(self, f"attribute_{number}", made)

    def call(self, x):
        return self.net(x)


def owner(*names, functional=False, **options):
    if functional:
        inputs = keras.Input((4,))
        model = LossAwareModel(inputs, Dense(4, name="net")(inputs))
        for name in names:
            model.add_weight(name=name, shape=(2,))
        return model
    model = Owner(*names, **options)
    model(np.ones((1, 4)))
    return model


def own_weights(model):
    return {w.name: w.numpy().tolist() for w in model.weights if w.shape == (2,)}


@pytest.mark.parametrize("functional", [True, False])
def test_weights_of_a_model_that_nothing_holds_are_known_by_name(tmp_path, functional):
    source = compiled(owner("near", "far", functional=functional))
    save_for_training(source, tmp_path / "s")
    model = compiled(owner("far", "near", functional=functional), seed=1)
    report = warm_start(model, tmp_path / "s", optimizer="carry")
    assert {"near", "far", "optimizer/momentums/far"} <= set(report.loaded)
    assert own_weights(model) == own_weights(source)
    for change in (("near",), ("near", "far", "new"), ("near", "wide")):
        other = compiled(owner(*change, functional=functional), seed=2)
        refused(other, tmp_path / "s", "a weight of the (model|source)")


def test_weights_that_do_not_train_are_loaded_too():
    source = randomized(owner("near", held=True, trainable=False))
    model = owner("near", held=True, trainable=False)
    assert "attribute_0" in warm_start(model, source).loaded
    assert own_weights(model) == own_weights(source)


def test_weights_of_one_name_are_refused_unless_held():
    source = randomized(owner("coefficient", "coefficient"))
    model = randomized(owner("coefficient", "coefficient"), seed=1)
    refused(model, source, "one of several weights of one name")
    source = randomized(owner("coefficient", "coefficient", held=True))
    model = owner("coefficient", "coefficient", held=True)
    warm_start(model, source)
    np.testing.assert_array_equal(model.attribute_1, source.attribute_1)


def test_weights_of_one_name_in_the_source_alone_are_refused():
    source = randomized(owner("coefficient", "coefficient"))
    model = owner("coefficient")
    match = r"differs in 1:\n  coefficient:1: of the source: one of several weights of one name"
    refused(model, source, match, allow_unused=["coefficient:1"])


def test_variables_that_keras_does_not_see_are_refused(tmp_path):
    class Loss(keras.losses.Loss):
        def __init__(self):
            super().__init__()
            self.scale = keras.Variable(7.0)

        def call(self, y_true, y_pred):
            return self.scale * keras.ops.square(y_true - y_pred)

    class Scaled(keras.Model):
        """A stock model; to a `LossAwareModel` this would give a weight."""

        def __init__(self):
            super().__init__()
            self.net = Dense(4)
            self.coefficient = tf.Variable(1.0)

        def call(self, x):
            return self.net(x)

    lost = Scaled()
    lost(np.ones((1, 4)))
    untrained = owner("near")
    untrained.compile("adam", loss=Loss())
    for model, match in (
        (lost, "`coefficient` must be a weight"),
        (untrained, "'scale' of Loss"),
    ):
        refused(model, owner("near"), match)
        refused(owner("near"), model, match)
        with pytest.raises(ValueError, match=match):
            save_for_training(model, tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_a_layer_that_is_never_called_is_refused_once_it_is():
    def build(called):
        model = Owner()
        model.spare = Dense(4)
        if called:
            model.spare.build((None, 4))
            model(np.ones((1, 4)))
        else:
            with pytest.warns(UserWarning, match="looks like it has unbuilt state"):
                model(np.ones((1, 4)))
        return model

    refused(build(False), build(True), "spare/kernel: a weight of the source")
    refused(build(True), build(False), "spare/kernel: a weight of the model")
    warm_start(build(False), build(False))
