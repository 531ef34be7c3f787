"""A warm start is exact, complete and all or nothing."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_trainsteps import LossAwareModel
from keras_trainsteps.rolling import VocabularyMap, save_for_training, warm_start
from keras_trainsteps.rolling.model_state import read_state
from keras_trainsteps.rolling.model_state import state_of as copy_of
from tests.rolling.models import ranker, ranking_data, state_of

Dense = keras.layers.Dense


def sequential(*layers):
    return keras.Sequential([keras.Input((4,)), *layers])


def randomized(model, seed=0):
    """Sets every value of a model and its optimizer to noise of its own."""
    generator = np.random.default_rng(seed)
    variables = [v for v in model.variables if "seed" not in v.path]
    optimizer = getattr(model, "optimizer", None)
    if optimizer is not None:
        optimizer.build(model.trainable_variables)
        variables += [v for v in optimizer.variables if len(v.shape)]
    for variable in variables:
        variable.assign(generator.uniform(1, 2, variable.shape))
    return model


def compiled(model, optimizer="adam", seed=0):
    model.compile(optimizer, loss="mse")
    return randomized(model, seed)


def refused(model, source, match, **options):
    before = state_of(model)
    with pytest.raises(ValueError, match=match):
        warm_start(model, source, **options)
    assert state_of(model) == before


def values(model):
    return {path: value.copy() for path, value in copy_of(model).weights.items()}


# What is loaded


@pytest.mark.parametrize("from_disk", [True, False])
def test_everything_is_loaded_by_name(tmp_path, from_disk):
    source, model = compiled(ranker(dropout=0.1)), compiled(ranker(dropout=0.1), seed=1)
    if from_disk:
        save_for_training(source, tmp_path / "s")
    report = warm_start(model, tmp_path / "s" if from_disk else source)
    assert set(report.loaded) == set(values(source))
    for path, value in values(source).items():
        np.testing.assert_array_equal(values(model)[path], value)


def test_automatic_names_do_not_matter():
    def build():
        return sequential(Dense(4, "relu"), Dense(4), keras.layers.Dropout(0.1))

    source = randomized(build())
    for _ in range(3):
        build()
    model = build()
    assert model.layers[0].name != source.layers[0].name
    report = warm_start(model, source)
    assert report.loaded == ("dense/kernel", "dense/bias", "dense_1/kernel", "dense_1/bias")
    assert set(values(model)) == set(values(source))


def test_a_scorer_starts_a_trainer_that_adds_a_coefficient():
    source = ranker()
    plain = keras.Model(source.input, source.output)
    refused(ranker(), plain, r"log_scale: a weight of the model that the source lacks")
    report = warm_start(ranker(), plain, allow_missing=["log_scale"])
    assert report.initialized == ("log_scale",)


def test_training_choices_may_differ():
    source = sequential(Dense(4, name="a"), keras.layers.Dropout(0.1, name="drop"))
    layer = Dense(4, name="a", kernel_regularizer="l2", kernel_initializer="ones")
    layer.trainable = False
    warm_start(sequential(layer, keras.layers.Dropout(0.7, name="drop")), source)


# What is refused: sections 2.2 to 2.4 of the study of Keras's silent mismatches


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


def test_a_renamed_coefficient_is_refused_until_renamed():
    source, model = compiled(ranker()), ranker()
    del model.log_scale
    other = Renamed(model.input, model.output)
    other.sharpness = other.add_weight(name="sharpness", shape=(), initializer="zeros")
    compiled(other, seed=2)
    refused(other, source, "log_scale: a weight of the source that the model lacks")
    rename = {"log_scale": "sharpness"}
    report = warm_start(other, source, rename=rename, optimizer="carry")
    assert "optimizer/momentums/sharpness" in report.loaded
    np.testing.assert_array_equal(other.sharpness, source.log_scale)


class Renamed(LossAwareModel):
    """As `Ranker`, with another name for its coefficient."""


def test_layers_can_be_renamed_with_their_slots():
    source, model = compiled(ranker()), compiled(ranker(name="trunk"), seed=1)
    refused(model, source, "trunk: a layer of the model")
    report = warm_start(model, source, rename={"hidden": "trunk"}, optimizer="carry")
    assert {"trunk/kernel", "optimizer/velocities/trunk/bias"} <= set(report.loaded)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"rename": {"nowhere": "x"}}, "`rename` names 'nowhere'"),
        ({"rename": {"hidden": "head"}}, "makes two things of the source"),
        ({"allow_unused": ["x*"]}, r"`allow_unused` names 'x\*'"),
        ({"allow_missing": ["hidden"]}, "`allow_missing` names 'hidden'"),
        ({"vocabularies": {"hidden": "lookup"}}, "must be one weight of the model"),
        ({"vocabularies": {"hidden/bias": "lookup"}}, "names the lookup 'lookup'"),
        ({"optimizer": "keep"}, "`optimizer` must be one of"),
        ({"learning_rate": 0.1}, "`learning_rate` must be one of"),
    ],
)
def test_arguments_that_name_nothing_are_refused(options, match):
    refused(compiled(ranker(), seed=1), compiled(ranker()), match, **options)


def test_layers_may_be_left_over_when_named():
    source = sequential(Dense(4, name="a"), Dense(4, name="b"), Dense(4, name="c"))
    model = sequential(Dense(4, name="a"), Dense(4, name="c"), Dense(2, name="d"))
    refused(model, source, "differs in 6")
    report = warm_start(model, source, allow_unused=["b"], allow_missing="d")
    assert report.dropped == ("b/kernel", "b/bias")
    assert report.initialized == ("d/kernel", "d/bias")


@pytest.mark.parametrize("name", ["m.h5", "m.keras", "m.weights.h5", "m.pkl"])
def test_files_are_not_opened(tmp_path, name):
    (tmp_path / name).write_bytes(b"x")
    refused(ranker(), tmp_path / name, "which is not opened")


def test_unbuilt_models_are_refused():
    with pytest.raises(ValueError, match="`model` must be built"):
        warm_start(keras.Sequential([Dense(1)]), ranker())


def test_damaged_states_are_refused(tmp_path):
    save_for_training(compiled(ranker()), tmp_path / "s")
    path = tmp_path / "s" / "state.bin"
    good = path.read_bytes()
    model = compiled(ranker(), seed=1)
    for at in range(0, len(good), len(good) // 20):
        changed = bytearray(good)
        changed[at] ^= 1
        path.write_bytes(changed)
        refused(model, tmp_path / "s", "other content, by SHA-256")
    path.write_bytes(good[:-1])
    refused(model, tmp_path / "s", "bytes instead of")
    path.write_bytes(good)
    warm_start(model, tmp_path / "s")
    with pytest.raises(ValueError, match="must not exist"):
        save_for_training(model, tmp_path / "s")


def test_a_failure_in_the_middle_leaves_the_model_as_it_was(monkeypatch):
    source, model = compiled(ranker()), compiled(ranker(), seed=1)
    before = state_of(model)
    real, left = keras.Variable.assign, []

    def assign(self, value):
        if left and not left.pop():
            raise RuntimeError("out of memory")
        return real(self, value)

    monkeypatch.setattr(type(model.log_scale), "assign", assign)
    for done in range(16):  # 5 weights, 10 slots, the step
        left[:] = [False, *[True] * done]
        with pytest.raises(RuntimeError, match="out of memory"):
            warm_start(model, source, optimizer="carry")
        assert state_of(model) == before
    left[:] = [True] * 16
    warm_start(model, source, optimizer="carry")
    assert not left


# The optimizer


OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.1, momentum=0.9),
    "adam": lambda: keras.optimizers.Adam(0.1),
    "amsgrad": lambda: keras.optimizers.Adam(0.1, amsgrad=True),
    "adagrad": lambda: keras.optimizers.Adagrad(0.1),
    "adamw": lambda: keras.optimizers.AdamW(0.1),
    "rmsprop": lambda: keras.optimizers.RMSprop(0.1, centered=True),
    "nadam": lambda: keras.optimizers.Nadam(0.1),
    "ftrl": lambda: keras.optimizers.Ftrl(0.1),
    "lion": lambda: keras.optimizers.Lion(0.1),
    "adadelta": lambda: keras.optimizers.Adadelta(0.1),
    "adamax": lambda: keras.optimizers.Adamax(0.1),
    "lamb": lambda: keras.optimizers.Lamb(0.1),
    "adafactor": lambda: keras.optimizers.Adafactor(0.1),
    "ema": lambda: keras.optimizers.Adam(0.1, use_ema=True),
    "accumulation": lambda: keras.optimizers.Adam(0.1, gradient_accumulation_steps=2),
    "loss scale": lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.1)),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_is_carried_whole_or_reset_whole(tmp_path, name):
    source = compiled(ranker(), OPTIMIZERS[name]())
    source.optimizer.variables[0].assign(12)
    save_for_training(source, tmp_path / "s")
    model = compiled(ranker(), OPTIMIZERS[name](), seed=1)
    warm_start(model, tmp_path / "s", optimizer="carry", learning_rate="saved")
    assert state_of(model) == state_of(source)
    report = warm_start(model, tmp_path / "s")
    fresh = ranker()
    fresh.compile(OPTIMIZERS[name]())
    fresh.optimizer.build(fresh.trainable_variables)
    begun = [keras.ops.convert_to_numpy(v) for v in fresh.optimizer.variables]
    for value, variable in zip(begun, model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(value, variable)
    assert not [path for path in report.loaded if path.startswith("optimizer/")]


SITUATIONS = {
    "the same": {},
    "frozen here": {"frozen": (False, True)},
    "frozen there": {"frozen": (True, False)},
    "schedule here": {"scheduled": (False, True)},
    "schedule there": {"scheduled": (True, False)},
    "averaged here": {"use_ema": (False, True)},
    "averaged there": {"use_ema": (True, False)},
    "accumulated here": {"gradient_accumulation_steps": (None, 2)},
    "scaled here": {"scaled": (False, True)},
    "scaled there": {"scaled": (True, False)},
    "grown table": {"tokens": ("abc", "dcba")},
}


def situated(kind, side, choices, seed):
    chosen = {name: values[side] for name, values in choices.items()}
    rate = keras.optimizers.schedules.CosineDecay(0.1, 100) if chosen.get("scheduled") else 0.1
    options = {k: chosen[k] for k in ("use_ema", "gradient_accumulation_steps") if chosen.get(k)}
    if kind is keras.optimizers.SGD:
        options["momentum"] = 0.9  # without it there is nothing to carry
    optimizer = kind(rate, **options)
    if chosen.get("scaled"):
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    model = shop(chosen.get("tokens", "abc"), optimizer="sgd", seed=seed)
    model.get_layer("score").trainable = not chosen.get("frozen", False)
    return compiled(model, optimizer, seed)


CLASSES = ["SGD", "RMSprop", "Adam", "AdamW", "Adadelta", "Adagrad", "Adamax", "Adafactor"]
CLASSES += ["Nadam", "Ftrl", "Lion", "Lamb", "Muon", "ScheduleFreeAdamW"]


def fits(name):
    """The situations in which an optimizer can be carried."""
    factored = name == "Adafactor"  # its slots are no rows of the table
    return ("the same",) if factored else ("the same", "grown table")


@pytest.mark.slow
@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("name", CLASSES)
def test_the_state_of_an_optimizer_is_never_taken_in_part(name, situation):
    kind, choices = getattr(keras.optimizers, name), SITUATIONS[situation]
    source = situated(kind, 0, choices, 0)
    vocabularies = {"table": "lookup"} if "tokens" in choices else {}
    saved = copy_of(source).optimizer
    for policy in ("reset", "carry"):
        model = situated(kind, 1, choices, 1)
        before = state_of(model)
        if policy == "carry" and situation not in fits(name):
            with pytest.raises(ValueError, match="optimizer"):
                warm_start(model, source, optimizer=policy, vocabularies=vocabularies)
            assert state_of(model) == before
            continue
        warm_start(model, source, optimizer=policy, vocabularies=vocabularies)
        found = copy_of(model).optimizer
        fresh = copy_of(begun(situated(kind, 1, choices, 1))).optimizer
        for key, slot in found.slots.items():
            if policy == "reset":
                np.testing.assert_array_equal(slot, fresh.slots[key])
            elif key[1] != "table/embeddings" or not vocabularies:
                np.testing.assert_array_equal(slot, saved.slots[key])
            else:
                rows = VocabularyMap(old=["[UNK]", *"abc"], new=["[UNK]", *"dcba"]).rows()
                for row, old in enumerate(rows if slot.ndim else ()):
                    expected = fresh.slots[key][row] if old < 0 else saved.slots[key][old]
                    np.testing.assert_array_equal(slot[row], expected)


def begun(model):
    """The model with an optimizer that has not done anything."""
    optimizer = model.optimizer
    model.optimizer = type(optimizer).from_config(optimizer.get_config())
    model.optimizer.build(model.trainable_variables)
    return model


def test_an_unbuilt_optimizer_is_built_only_when_all_is_well():
    source, model = compiled(ranker()), ranker()
    model.compile("adam")
    refused(model, compiled(ranker(), "sgd"), "optimizer: SGD", optimizer="carry")
    assert not model.optimizer.built
    warm_start(model, source, optimizer="carry", learning_rate="saved")
    assert state_of(model) == state_of(source)


def test_slots_of_another_optimizer_are_refused():
    source = compiled(ranker(), OPTIMIZERS["adagrad"]())
    for other in (OPTIMIZERS["sgd"](), "rmsprop"):
        model = compiled(ranker(), other, seed=1)
        refused(model, source, "optimizer: Adagrad in the source", optimizer="carry")
    model = compiled(ranker(), keras.optimizers.Adagrad(0.1, epsilon=1.0), seed=1)
    refused(model, source, "epsilon is 1e-07 in the source, 1.0", optimizer="carry")
    uncompiled = ranker()
    refused(uncompiled, source, "'carry' needs a compiled model", optimizer="carry")
    refused(model, uncompiled, "no optimizer state", optimizer="carry")


def test_the_codes_learning_rate_counts():
    source = compiled(ranker(), keras.optimizers.Adagrad(0.1))
    for policy in ("reset", "carry"):
        model = compiled(ranker(), keras.optimizers.Adagrad(0.001), seed=1)
        warm_start(model, source, optimizer=policy)
        assert float(model.optimizer.learning_rate) == np.float32(0.001)
        warm_start(model, source, optimizer=policy, learning_rate="saved")
        assert float(model.optimizer.learning_rate) == np.float32(0.1)


def decay(steps=100):
    return keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.1, steps))


def test_a_finished_schedule_is_refused_and_begins_anew_by_default():
    source = compiled(ranker(), decay())
    source.optimizer.iterations.assign(100)
    model = compiled(ranker(), decay(), seed=1)
    refused(model, source, "is finished at the saved step 100", optimizer="carry")
    warm_start(model, source)
    assert int(model.optimizer.iterations) == 0
    x, y = ranking_data()
    before = values(model)
    model.fit(x, y, verbose=0, steps_per_epoch=1)
    assert np.any(before["hidden/kernel"] != values(model)["hidden/kernel"])
    source.optimizer.iterations.assign(99)
    warm_start(model, source, optimizer="carry")
    assert int(model.optimizer.iterations) == 99


def test_schedule_and_constant_rate_do_not_mix():
    constant, scheduled = compiled(ranker()), compiled(ranker(), decay(), seed=1)
    refused(scheduled, constant, "a constant rate in the source", optimizer="carry")
    refused(constant, scheduled, "a schedule in the source", optimizer="carry")
    refused(scheduled, constant, "needs a constant rate in both", learning_rate="saved")


def test_a_frozen_layer_refuses_carry():
    def build(frozen):
        model = ranker()
        model.get_layer("hidden").trainable = not frozen
        return compiled(model)

    refused(build(True), build(False), "is its weight frozen there", optimizer="carry")
    refused(build(False), build(True), "was its weight frozen there", optimizer="carry")
    warm_start(build(True), build(False))


# Vocabularies


def shop(tokens, *, oov=1, mask=None, rows=None, optimizer="adam", seed=0):
    inputs = keras.Input((), dtype="string", name="item")
    lookup = keras.layers.StringLookup(
        vocabulary=list(tokens), num_oov_indices=oov, mask_token=mask, name="lookup"
    )
    size = rows or lookup.vocabulary_size()
    table = keras.layers.Embedding(size, 3, name="table")(lookup(inputs))
    model = keras.Model(inputs, Dense(1, name="score")(table))
    model.compile(optimizer, loss="mse")
    return randomized(model, seed)


def test_another_order_of_the_same_tokens_is_refused():
    source, model = shop(["cat", "dog", "fox"]), shop(["fox", "cat", "dog"], seed=1)
    refused(model, source, "lookup: other vocabulary: row 1 is 'cat' in the source, 'fox'")
    report = warm_start(model, source, vocabularies={"table": "lookup"})
    assert report.remapped == ("table/embeddings",)
    x = keras.ops.convert_to_tensor(np.array(["cat", "dog", "fox", "emu"], dtype=object))
    np.testing.assert_array_equal(model(x), source(x))


def test_moved_special_rows_are_refused():
    source = shop("abc")
    named = {"vocabularies": {"table": "lookup"}}
    more = shop("abc", oov=2, seed=1)
    refused(more, source, "lookup: num_oov_indices is 1 in the source, 2 in the model", **named)
    masked = shop("abc", mask="-", seed=1)
    refused(masked, source, "lookup: mask_token is None in the source, '-' in the model", **named)


TOKENS = st.lists(st.sampled_from("abcdefgh"), unique=True, min_size=1, max_size=6)


@settings(max_examples=15)
@given(old=TOKENS, new=TOKENS, oov=st.integers(1, 2), mask=st.sampled_from([None, "-"]))
def test_rows_and_slots_follow_their_tokens(old, new, oov, mask):
    source = shop(old, oov=oov, mask=mask)
    model = shop(new, oov=oov, mask=mask, seed=1)
    before = copy_of(model)
    report = warm_start(model, source, vocabularies={"table": "lookup"}, optimizer="carry")
    table, was = values(model)["table/embeddings"], values(source)["table/embeddings"]
    tokens = {
        side: m.get_layer("lookup").get_vocabulary()
        for side, m in (("old", source), ("new", model))
    }
    slots = {side: copy_of(m).optimizer.slots for side, m in (("old", source), ("new", model))}
    special = oov + (mask is not None)
    for row, token in enumerate(tokens["new"]):
        kept = row if row < special else None
        if kept is None and token in old:
            kept = tokens["old"].index(token)
        if kept is None:
            np.testing.assert_array_equal(table[row], before.weights["table/embeddings"][row])
        else:
            np.testing.assert_array_equal(table[row], was[kept])
        for slot in ("momentums", "velocities"):
            value = slots["new"][slot, "table/embeddings"][row]
            expected = 0 if kept is None else slots["old"][slot, "table/embeddings"][kept]
            np.testing.assert_array_equal(value, np.broadcast_to(expected, 3))
    both = sorted({*old} & {*new})
    if both:
        x = keras.ops.convert_to_tensor(np.array(both, dtype=object))
        np.testing.assert_array_equal(model(x), source(x))
    require_partition(report, copy_of(source), copy_of(model))


def require_partition(report, source, model):
    """Every value of both sides is in the report exactly once."""

    def all_of(state):
        paths = [*state.weights, *(f"random/{path}" for path in state.seeds)]
        if state.optimizer is not None:
            paths += [f"optimizer/{name}" for name in state.optimizer.scalars]
            paths += [f"optimizer/{a}/{b}" for a, b in state.optimizer.slots]
        return sorted(paths)

    taken = [*report.loaded, *report.remapped]
    assert sorted([*taken, *report.initialized]) == all_of(model)
    assert sorted([*taken, *report.dropped]) == all_of(source)


@settings(max_examples=20)
@given(
    source=st.lists(st.sampled_from("abcde"), unique=True, min_size=1),
    model=st.lists(st.sampled_from("abcde"), unique=True, min_size=1),
    policy=st.sampled_from(["reset", "carry"]),
    rate=st.sampled_from(["code", "saved"]),
)
def test_the_report_is_a_partition_of_both_sides(source, model, policy, rate):
    def build(names):
        layers = [Dense(4, name=name) for name in names]
        return compiled(sequential(*layers, keras.layers.Dropout(0.5, name="drop")))

    old, new = build(sorted(source)), build(sorted(model))
    states = copy_of(old), copy_of(new)
    report = warm_start(
        new,
        old,
        optimizer=policy,
        learning_rate=rate,
        allow_unused=sorted({*source} - {*model}),
        allow_missing=sorted({*model} - {*source}),
    )
    require_partition(report, *states)


def test_new_rows_can_begin_at_the_mean():
    source, model = shop("ab"), shop("abc", seed=1)
    mean = VocabularyMap(lookup="lookup", new_rows="mean", new_slots="mean")
    warm_start(model, source, vocabularies={"table": mean}, optimizer="carry")
    old, new = values(source)["table/embeddings"], values(model)["table/embeddings"]
    np.testing.assert_allclose(new[3], old.mean(axis=0), rtol=1e-6)
    slots = copy_of(model).optimizer.slots["velocities", "table/embeddings"]
    np.testing.assert_allclose(slots[3], slots[:3].mean(axis=0), rtol=1e-6)


def test_columns_of_an_output_layer_follow_classes():
    def build(classes):
        return sequential(Dense(len(classes), use_bias=False, name="out"))

    source, model = randomized(build("abc")), randomized(build("cabd"), seed=1)
    columns = VocabularyMap(old="abc", new="cabd", axis=1)
    before = values(model)["out/kernel"]
    warm_start(model, source, vocabularies={"out": columns})
    new, old = values(model)["out/kernel"], values(source)["out/kernel"]
    np.testing.assert_array_equal(new[:, :3], old[:, [2, 0, 1]])
    np.testing.assert_array_equal(new[:, 3], before[:, 3])


def test_spare_rows_of_a_table_begin_anew():
    source, model = shop("ab", rows=10), shop("abc", rows=12, seed=1)
    before = values(model)["table/embeddings"]
    warm_start(model, source, vocabularies={"table": "lookup"})
    np.testing.assert_array_equal(values(model)["table/embeddings"][4:], before[4:])


def test_a_grown_table_without_its_vocabulary_is_refused():
    refused(shop("abc", seed=1), shop("ab"), "lookup: other vocabulary")
    wrong = VocabularyMap(old="abcdefgh", new="abc")
    match = "the old vocabulary has 8 tokens, its table only 3 rows"
    refused(shop("abc", seed=1), shop("ab"), match, vocabularies={"table": wrong})
    factored = OPTIMIZERS["adafactor"]
    refused(
        shop("abc", optimizer=factored(), seed=1),
        shop("ab", optimizer=factored()),
        "is not that of its table",
        vocabularies={"table": "lookup"},
        optimizer="carry",
    )


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({}, "either `lookup`, or both"),
        ({"old": "ab"}, "either `lookup`, or both"),
        ({"lookup": "l", "new_rows": "zeros"}, "`new_rows` must be"),
        ({"lookup": "l", "new_slots": "zeros"}, "`new_slots` must be"),
    ],
)
def test_bad_vocabulary_maps_are_refused(options, match):
    with pytest.raises(ValueError, match=match):
        VocabularyMap(**options)


def test_the_report_prints_as_a_table():
    report = warm_start(compiled(ranker()), compiled(ranker()))
    lines = str(report).splitlines()
    assert lines[0].endswith("5 loaded, 0 remapped, 12 initialized, 12 dropped")
    assert any(
        line.split() == ["dropped", "optimizer/velocities/*", "5", "values", "optimizer", "reset"]
        for line in lines
    )
    assert len({line.index("(") for line in lines[1:6]}) == 1


@pytest.mark.parametrize("policy", ["float32", "bfloat16", "mixed_float16"])
def test_what_is_saved_is_what_is_read(tmp_path, policy):
    keras.config.set_dtype_policy(policy)
    try:
        model = compiled(shop("ab"), OPTIMIZERS["loss scale"]())
    finally:
        keras.config.set_dtype_policy("float32")
    save_for_training(model, tmp_path / "s")
    found, expected = read_state(tmp_path / "s"), copy_of(model)
    assert found.layers == expected.layers
    assert found.vocabularies == expected.vocabularies == {"lookup": ["[UNK]", "a", "b"]}
    assert found.optimizer.config == expected.optimizer.config
    for side in ("weights", "seeds"):
        require_equal(getattr(found, side), getattr(expected, side))
    require_equal(found.optimizer.slots, expected.optimizer.slots)
    require_equal(found.optimizer.scalars, expected.optimizer.scalars)


def require_equal(left, right):
    assert left.keys() == right.keys()
    for key, value in left.items():
        assert value.dtype == right[key].dtype
        np.testing.assert_array_equal(value, right[key])
