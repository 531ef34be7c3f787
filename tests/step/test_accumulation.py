"""`accumulate_steps`: a group of batches trains as one step on all of their rows."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from keras_trainsteps import (
    Ema,
    LossAwareModel,
    LossAwareSequential,
    LossTerm,
    Objective,
    Queue,
    losses,
    penalties,
)
from keras_trainsteps.data import query_batches
from tests.toy import UNKNOWN_LENGTH, close, hooked

RNG = np.random.default_rng(0)
SIZES, UNIONS = (5, 1, 8, 3, 7, 2, 4), (14, 12, 4)  # two groups of three steps, and a short one
ROWS, EPOCHS = sum(SIZES), 2
X = {
    "features": RNG.normal(size=(ROWS, 3)).astype("float32"),
    "keep": RNG.integers(0, 2, size=(ROWS, 1)).astype("float32"),
}
Y = RNG.normal(size=(ROWS, 1)).astype("float32")
WEIGHTS = RNG.uniform(1, 3, size=ROWS).astype("float32")
WITHIN = {"rtol": 1e-6, "atol": 1e-6}
SLOW = pytest.mark.slow
MODES = pytest.mark.parametrize(
    "run_eagerly", [True, pytest.param(False, marks=SLOW)], ids=["eager", "graph"]
)
pytestmark = UNKNOWN_LENGTH


def batches(sizes):
    """Batches of these numbers of rows."""
    begin = 0
    for size in sizes:
        rows = slice(begin, begin + size)
        yield {name: value[rows] for name, value in X.items()}, Y[rows], WEIGHTS[rows]
        begin += size


def dataset(sizes):
    """The same as a `tf.data.Dataset` of unknown length."""
    spec = keras.tree.map_structure(
        lambda value: tf.TensorSpec((None, *value.shape[1:]), value.dtype), (X, Y, WEIGHTS)
    )
    return tf.data.Dataset.from_generator(
        functools.partial(batches, sizes), output_signature=spec
    )


def dense(*args, **options):
    return keras.layers.Dense(*args, **options)


def hook(x, y, y_pred, sample_weight):
    """Terms of each kind: one value per row, a count of its own, a scalar."""
    kept = x["keep"] * ops.abs(y_pred - y)
    return {
        "squares": ops.square(y_pred - y),
        "kept": LossTerm(ops.sum(kept), ops.sum(x["keep"])),
        "size": 0.1 * ops.mean(y_pred),
    }


HOOKED = {"side_inputs": ("keep",), "weighted": True}


def layers():
    size = keras.regularizers.L2(0.1)
    return [dense(4, "tanh", kernel_regularizer="l2", activity_regularizer=size), dense(1)]


class Subclassed(hooked(hook, **HOOKED)):
    def __init__(self):
        super().__init__()
        self.hidden, self.scores = layers()

    def call(self, x):
        return self.scores(self.hidden(x["features"]))


Hooked = hooked(hook, **HOOKED)


def functional(cls=Hooked):
    inputs = keras.Input((3,), name="features")
    hidden, scores = layers()
    return cls(inputs, scores(hidden(inputs)))


STRUCTURES = {
    "functional": functional,
    "subclassed": Subclassed,
    "sequential": lambda: hooked(hook, base=LossAwareSequential, **HOOKED)(layers()),
}


def compiled(make, accumulate_steps=1, optimizer=None, **options):
    keras.utils.set_random_seed(3)
    model = make()
    optimizer = optimizer or (lambda: keras.optimizers.SGD(0.1, momentum=0.9))
    model.compile(optimizer(), accumulate_steps=accumulate_steps, **options)
    return model


def fit(model, data, epochs=EPOCHS, **options):
    return model.fit(data, epochs=epochs, shuffle=False, verbose=0, **options).history


def like_unions(make, data=dataset, within=WITHIN, epochs=EPOCHS, union=None, **options):
    """Trains in groups, and on the union of each; weights and logs must be the same."""
    expected = compiled(make, **{**options, **(union or {})})
    history = fit(expected, data(UNIONS), epochs)
    model = compiled(make, 3, **options)
    found = fit(model, data(SIZES), epochs)
    assert int(model.optimizer.iterations) == int(expected.optimizer.iterations) == 3 * epochs
    for weight, other in zip(model.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_allclose(weight, other, **within)
    assert set(found) == set(history)
    for name, values in history.items():
        np.testing.assert_allclose(found[name], values, err_msg=name, **within)
    return model


# As one step on the union


def of_mode(structure, mode):
    options = {
        "graph": {},
        "eager": {"run_eagerly": True},
        "xla": {"jit_compile": True},
        "two at once": {"steps_per_execution": 2},
        "all at once": {"steps_per_execution": 7},
    }[mode]
    slow = (structure, mode) not in {
        ("functional", "graph"),
        ("subclassed", "eager"),
    }
    marks = [SLOW] if slow else []
    if mode == "xla":
        marks += [
            pytest.mark.filterwarnings("ignore:`jit_compile=True` compiles a step for each")
        ]
    return pytest.param(structure, options, marks=marks, id=f"{structure} {mode}")


@pytest.mark.parametrize(
    ("structure", "options"),
    [
        of_mode(structure, mode)
        for structure in STRUCTURES
        for mode in ("graph", "eager", "xla", "two at once", "all at once")
    ],
)
def test_uneven_batches_train_as_their_union(structure, options):
    epochs = 1 if "run_eagerly" in options else EPOCHS
    like_unions(STRUCTURES[structure], epochs=epochs, loss="mse", **options)


@MODES
def test_generators_train_as_their_union(run_eagerly):
    """A generator is at its end after an epoch."""
    like_unions(functional, batches, epochs=1, loss="mse", run_eagerly=run_eagerly)


@SLOW
@pytest.mark.parametrize("run_eagerly", [True, False], ids=["eager", "graph"])
def test_arrays_train_as_their_union(run_eagerly):
    def trained(accumulate_steps, batch_size):
        model = compiled(functional, accumulate_steps, loss="mse", run_eagerly=run_eagerly)
        options = {"sample_weight": WEIGHTS, "validation_data": (X, Y, WEIGHTS)}
        logs = model.fit(X, Y, batch_size, shuffle=False, verbose=0, **options).history
        return model.get_weights(), logs

    (weights, logs), (expected, history) = trained(2, 8), trained(1, 16)  # 16 rows and 14
    for weight, other in zip(weights, expected, strict=True):
        np.testing.assert_allclose(weight, other, **WITHIN)
    for name, values in history.items():
        np.testing.assert_allclose(logs[name], values, err_msg=name, **WITHIN)


def test_updates_are_those_of_sums_of_totals_over_sums_of_counts():
    """Written out: the hook's loss of a linear network, by plain gradient descent."""

    def terms(x, y, y_pred, sample_weight):
        kept = x["keep"] * ops.square(y_pred - y)
        return {
            "squares": ops.square(y_pred - y),
            "kept": LossTerm(ops.sum(kept), ops.sum(x["keep"])),
        }

    def make():
        inputs = keras.Input((3,), name="features")
        scores = dense(1, use_bias=False, kernel_initializer="ones")
        return hooked(terms, **HOOKED)(inputs, scores(inputs))

    model = compiled(
        make,
        3,
        optimizer=lambda: keras.optimizers.SGD(0.1),
        loss_weights={"squares": 2.0},
        run_eagerly=True,
    )
    fit(model, batches(SIZES), 1, steps_per_epoch=len(SIZES))
    weight = np.ones(3)
    for x, y, rows in batches(UNIONS):
        slopes = np.zeros(3)
        for features, target, keep, row_weight in zip(
            x["features"].astype(float), y[:, 0], x["keep"][:, 0], rows, strict=True
        ):
            slope = 2 * (features @ weight - target) * features
            slopes += 2.0 * row_weight * slope / len(y) + keep * slope / x["keep"].sum()
        weight -= 0.1 * slopes
    np.testing.assert_allclose(model.get_weights()[0][:, 0], weight, **WITHIN)


@SLOW
def test_keras_is_off_where_batches_are_uneven_or_masked():
    """Keras averages the means of batches; printed is how far off that ends."""

    def terms(x, y, y_pred, sample_weight):
        found = hook(x, y, y_pred, sample_weight)
        return {name: found[name] for name in ("squares", "kept")}

    def weights(sizes, accumulate_steps=1, **options):
        model = compiled(
            functools.partial(functional, hooked(terms, **HOOKED)),
            accumulate_steps,
            optimizer=functools.partial(keras.optimizers.SGD, 0.1, **options),
            run_eagerly=True,
        )
        if sizes:
            fit(model, batches(sizes), 1, steps_per_epoch=len(sizes))
        return np.concatenate([weight.reshape(-1) for weight in model.get_weights()])

    def off(found):
        way = np.linalg.norm(expected - weights(()))
        return float(np.linalg.norm(found - expected) / way)

    expected = weights(UNIONS[:2])
    here = off(weights(SIZES[:6], 3))
    keras_own = off(weights(SIZES[:6], gradient_accumulation_steps=3))
    print(f"of the way of two updates: Keras is off by {keras_own:.3f}, this by {here:.1e}")
    assert here < 1e-5
    assert keras_own > 0.1


# What is summed up


def test_a_term_without_a_count_in_a_group_trains_nothing():
    def terms(x, y, y_pred):
        return {"none": LossTerm(ops.sum(0.0 * y_pred), 0.0 * ops.sum(x["keep"]))}

    inputs = keras.Input((3,), name="features")
    model = hooked(terms, side_inputs=("keep",))(inputs, dense(1)(inputs))
    model.compile(keras.optimizers.SGD(0.1), accumulate_steps=2, run_eagerly=True)
    before = model.get_weights()
    with pytest.warns(UserWarning, match="nothing to count in the whole epoch"):
        fit(model, batches((4, 4, 4)), 1, steps_per_epoch=3)
    np.testing.assert_equal(model.get_weights(), before)


@SLOW
@pytest.mark.parametrize(
    "loss",
    [keras.losses.MeanAbsoluteError(reduction="mean_with_sample_weight"), ["mse", "mae"]],
    ids=["by weights", "two on an output"],
)
def test_losses_of_keras_train_as_those_of_the_union(loss):
    like_unions(functional, batches, epochs=1, loss=loss, run_eagerly=True)


@SLOW
@pytest.mark.parametrize(
    "loss",
    [losses.Softmax("query_id"), losses.PairwiseLogistic("query_id")],
    ids=["softmax", "pairs"],
)
@pytest.mark.parametrize("pad", [False, True], ids=["as they are", "filled up"])
def test_batches_of_whole_queries_train_as_all_of_them(loss, pad):
    x = {"features": X["features"], "query_id": np.repeat(np.arange(10), 3)}
    labels = RNG.integers(0, 3, size=(ROWS, 1)).astype("float32")

    def make():
        inputs = keras.Input((3,), name="features")
        return LossAwareModel(inputs, dense(1)(inputs))

    def trained(accumulate_steps, batch_size):
        model = compiled(make, accumulate_steps, loss=loss, run_eagerly=not pad)
        data = query_batches(
            x, labels, query_ids="query_id", batch_size=batch_size, shuffle=False, pad=pad
        )
        return model.fit(data, verbose=0).history["loss"], model.get_weights()

    for found, expected in zip(trained(5, 3), trained(1, 15), strict=True):
        for value, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(value, other, **WITHIN)


@MODES
def test_masked_outputs_of_keras_train_as_those_of_the_union(run_eagerly):
    tokens = RNG.integers(0, 5, size=(12, 4))
    targets = RNG.normal(size=(12, 4, 1)).astype("float32")

    def make():
        inputs = keras.Input((4,), dtype="int64")
        embedded = keras.layers.Embedding(5, 2, mask_zero=True)(inputs)
        return LossAwareModel(inputs, dense(1)(embedded))

    def weights(accumulate_steps, batch_size):
        sgd = functools.partial(keras.optimizers.SGD, 0.1)
        model = compiled(make, accumulate_steps, sgd, loss="mse", run_eagerly=run_eagerly)
        model.fit(tokens, targets, batch_size, shuffle=False, verbose=0)
        return model.get_weights()

    for weight, other in zip(weights(4, 1), weights(1, 4), strict=True):
        np.testing.assert_allclose(weight, other, **WITHIN)


def test_gradients_of_embeddings_are_those_of_their_dense_form():
    """Keras's Adam squares the parts of a row's gradient by themselves, and not their sum."""
    ids = RNG.integers(0, 7, size=(12, 3))

    def weights(one_hot, accumulate_steps, batch_size):
        def make():
            inputs = keras.Input((3,), dtype="int64")
            hot = keras.layers.Lambda(lambda ids: ops.one_hot(ids, 7))
            table = dense(2, use_bias=False) if one_hot else keras.layers.Embedding(7, 2)
            rows = table(hot(inputs) if one_hot else inputs)
            return LossAwareModel(inputs, dense(1)(keras.layers.Flatten()(rows)))

        model = compiled(make, accumulate_steps, loss="mse", run_eagerly=True)
        model.set_weights(
            [np.linspace(-1, 1, w.size).reshape(w.shape) for w in model.get_weights()]
        )
        model.fit(ids, Y[:12], batch_size, shuffle=False, verbose=0)
        return model.get_weights()

    for weight, other in zip(weights(False, 3, 2), weights(True, 1, 6), strict=True):
        np.testing.assert_allclose(weight, other, **WITHIN)


def test_a_weight_that_varies_is_that_of_the_update():
    """The slope of the mean of a linear network on ones is 1: its weight tells the sum."""
    factor = keras.Variable(0.0, trainable=False)

    class Rising(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            factor.assign(batch + 1.0)

    def make():
        inputs = keras.Input((1,))
        outputs = dense(1, use_bias=False, kernel_initializer="zeros")(inputs)
        return hooked(lambda x, y, y_pred: {"one": y_pred, "other": y_pred})(inputs, outputs)

    model = compiled(
        make,
        3,
        lambda: keras.optimizers.SGD(1.0),
        loss_weights={"one": factor, "other": 0.5},
    )
    ones = np.ones((5, 1))
    model.fit(ones, ones, 1, shuffle=False, verbose=0, callbacks=[Rising()])
    assert float(model.get_weights()[0][0, 0]) == close(-(3 + 0.5) - (5 + 0.5))


@SLOW
@pytest.mark.parametrize(
    "terms",
    [["squares", "kept"], ["size", "mse_loss"]],
    ids=["of each kind", "by rows"],
)
def test_trained_weights_of_terms_train_as_on_the_union(terms):
    def make():
        model = functional()
        model.add_loss(penalties.UncertaintyWeighting(terms), name="uncertainty")
        return model

    like_unions(make, batches, epochs=1, loss="mse", run_eagerly=True)


@SLOW
@pytest.mark.parametrize(
    "options",
    [
        {"clipnorm": 0.01, "weight_decay": 0.1},
        {"global_clipnorm": 0.01, "use_ema": True},
    ],
    ids=["each", "together"],
)
def test_the_gradient_of_a_group_is_clipped(options):
    adam = functools.partial(keras.optimizers.Adam, 0.05, **options)
    like_unions(functional, batches, epochs=1, optimizer=adam, run_eagerly=True)


def float16(scale, structure=functional):
    """Makers of a model in float16, and of an optimizer with this scale."""

    def make():
        policy = keras.config.dtype_policy()
        keras.config.set_dtype_policy("mixed_float16")
        try:
            return structure()
        finally:
            keras.config.set_dtype_policy(policy)

    return make, lambda: keras.optimizers.LossScaleOptimizer(
        keras.optimizers.SGD(0.1), initial_scale=scale
    )


@SLOW
@pytest.mark.parametrize("run_eagerly", [True, False], ids=["eager", "graph"])
@pytest.mark.parametrize("structure", STRUCTURES)
def test_float16_trains_as_on_the_union(structure, run_eagerly):
    make, optimizer = float16(256.0, STRUCTURES[structure])
    within = {"rtol": 5e-3, "atol": 5e-3}
    like_unions(
        make, batches, within, epochs=1, optimizer=optimizer, run_eagerly=run_eagerly, loss="mse"
    )


def test_a_group_with_a_gradient_that_is_not_finite_is_left_out():
    make, optimizer = float16(256.0)
    model = compiled(make, 3, optimizer, loss="mse", run_eagerly=True)
    before, (x, y, _) = model.get_weights(), next(batches((12,)))
    x = {**x, "features": np.where(np.arange(12)[:, None] == 4, np.inf, x["features"])}
    model.fit(x, y, 2, shuffle=False, verbose=0)  # two groups, one of them finite
    assert int(model.optimizer.iterations) == 1
    assert float(model.optimizer.dynamic_scale) == 128.0
    assert np.isfinite(np.concatenate([w.reshape(-1) for w in model.get_weights()])).all()
    assert not np.array_equal(model.get_weights()[0], before[0])


# When a group is applied


class Seen(keras.callbacks.Callback):
    """The number of updates when Keras calls."""

    def __init__(self):
        super().__init__()
        self.updates = {}

    def note(self, when):
        self.updates.setdefault(when, []).append(int(self.model.optimizer.iterations))

    def on_train_batch_end(self, batch, logs=None):
        self.note("step")
        if batch == 1:  # ends no group
            self.model.evaluate(X, Y, 30, verbose=0, callbacks=[self])
            self.model.get_metrics_result()

    def on_test_begin(self, logs=None):
        self.note("test")

    def on_epoch_end(self, epoch, logs=None):
        self.note("epoch")


@MODES
def test_a_short_group_is_applied_before_validation(run_eagerly):
    seen, model = Seen(), compiled(functional, 3, loss="mse", run_eagerly=run_eagerly)
    options = {"callbacks": [seen], "validation_data": (X, Y), "validation_batch_size": 30}
    model.fit(X, Y, 6, 2, verbose=0, **options)  # five steps an epoch
    assert seen.updates["step"] == [0, 0, 1, 1, 1, 2, 2, 3, 3, 3]
    # Also within the epochs, where `evaluate` applies nothing.
    assert seen.updates["test"] == [0, 2, 2, 4]
    assert seen.updates["epoch"] == [2, 4]


def test_batches_by_hand_are_applied_when_they_are_asked_to_be():
    model = compiled(functional, 3, loss="mse", run_eagerly=True)
    expected = compiled(functional, loss="mse", run_eagerly=True)
    for x, y, weights in batches((5, 1)):
        model.train_on_batch(x, y, weights)
    assert int(model.optimizer.iterations) == 0
    for _ in range(2):  # the second finds nothing
        model.apply_accumulated_gradients()
    expected.train_on_batch(*next(batches((6,))))
    assert int(model.optimizer.iterations) == 1
    for weight, other in zip(model.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_allclose(weight, other, **WITHIN)


@pytest.mark.parametrize(
    ("act", "by"),
    [
        (lambda model: model.fit(X, Y, 30, verbose=0), "`fit`"),
        pytest.param(lambda model: model.compile("sgd"), "`compile`", marks=SLOW),
        pytest.param(lambda model: model.add_loss(1.0), "A change of the losses", marks=SLOW),
    ],
    ids=["fit", "compile", "add_loss"],
)
def test_an_open_group_is_not_dropped_silently(act, by):
    model = compiled(functional, 3, run_eagerly=True)
    model.train_on_batch(*next(batches((4,))))
    with pytest.warns(UserWarning, match=rf"{by} begins a new .* Received: 1 of 3 steps"):
        act(model)
    fit(model, batches((4, 4)), 1, steps_per_epoch=2)


class Followed(LossAwareModel):
    """A network that is followed by another, and whose inputs are kept."""

    after_step = (
        Ema("network", into="average", momentum=0.5),
        Queue("seen", size=8, shape=(3,)),
        lambda model: model.calls.assign_add(1),
        lambda model, seen: model.rows.assign_add(tf.shape(seen)[0]),
    )

    def __init__(self):
        super().__init__()
        self.network, self.average = dense(1), dense(1)
        for layer in (self.network, self.average):
            layer.build((None, 3))
        counter = {"shape": (), "dtype": "int32", "initializer": "zeros", "trainable": False}
        self.calls, self.rows = (self.add_weight(**counter) for _ in range(2))

    def call(self, x):
        return self.network(x["features"])

    def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
        self.pass_on("seen", x["features"])
        return {"squares": ops.square(y_pred - y)}


@MODES
def test_averages_follow_updates_and_queues_follow_steps(run_eagerly):
    model = compiled(Followed, 3, run_eagerly=run_eagerly)
    fit(model, batches(SIZES[:5]), 1, steps_per_epoch=5)
    assert (int(model.calls), int(model.rows)) == (2, sum(SIZES[:5]))
    np.testing.assert_array_equal(model.seen[:3], X["features"][17:20])
    expected = compiled(Followed, run_eagerly=True)
    fit(expected, batches((14, 10)), 1, steps_per_epoch=2)
    for weight, other in zip(model.average.weights, expected.average.weights, strict=True):
        np.testing.assert_allclose(weight, other, **WITHIN)


class Pair(LossAwareModel):
    """One objective of two networks with an optimizer each, which share a pass."""

    def __init__(self):
        super().__init__()
        self.one, self.other = dense(1), dense(1)
        for layer in (self.one, self.other):
            layer.build((None, 3))

    def both(self, x, y):
        one, other = self.one(x["features"]), self.other(x["features"])
        kept = x["keep"] * ops.square(one - y)
        return {
            "kept": LossTerm(ops.sum(kept), ops.sum(x["keep"])),
            "squares": ops.square(other + 0.1 * one - y),
        }

    def objectives(self):
        trains = {"one": "kept", "other": "squares"}
        return {"both": Objective(self.both, trains=trains, gradients=self.doubled)}

    def doubled(self, pairs):
        return [(2 * gradient, weight) for gradient, weight in pairs]


@SLOW
@pytest.mark.parametrize("run_eagerly", [True, False], ids=["eager", "graph"])
def test_one_objective_of_several_networks_trains_as_on_the_union(run_eagerly):
    model = like_unions(
        Pair,
        batches,
        epochs=1,
        optimizer=lambda: {
            "one": keras.optimizers.Adam(0.05),
            "other": keras.optimizers.SGD(0.1),
        },
        run_eagerly=run_eagerly,
        union={"run_eagerly": True},
    )
    assert [int(model.optimizer[name].iterations) for name in ("one", "other")] == [3, 3]


# What it is made of


def test_sums_are_not_narrower_than_float32():
    inputs = keras.Input((3,))
    model = LossAwareModel(inputs, dense(1, dtype="bfloat16")(inputs))
    model.compile("sgd", loss="mse", accumulate_steps=2, run_eagerly=True)
    model.fit(X["features"], Y, 16, verbose=0)
    kernel = model.accumulated_variables["loss/0/0"]
    assert (model.weights[0].dtype, kernel.dtype) == ("bfloat16", "float32")


def test_one_step_sums_nothing_up():
    model = compiled(functional, 1, loss="mse")
    assert model.accumulated_variables == {}
    assert "accumulate_steps" not in model.get_compile_config()


def test_a_term_has_sums_of_its_own_only_where_its_count_is():
    """As many sums as weights for the rows, and as many for each other count."""

    def shared(x, y, y_pred):
        count = ops.sum(x["keep"])
        return {
            "one": LossTerm(ops.sum(x["keep"] * ops.abs(y_pred - y)), count),
            "other": LossTerm(ops.sum(x["keep"] * ops.square(y_pred - y)), count),
        }

    for terms, counts in ((hook, 2), (shared, 2)):
        weighted = terms is hook
        cls = hooked(terms, side_inputs=("keep",), weighted=weighted)
        model = compiled(functools.partial(functional, cls), 2, loss="mse", run_eagerly=True)
        model.train_on_batch(*next(batches((4,))))
        sums = [v for v in model.accumulated_variables.values() if len(v.shape) == 2]
        assert len(sums) == counts * 2  # kernels
        with pytest.warns(UserWarning, match="drops"):
            model.compile("sgd")


def test_a_saved_model_accumulates_when_it_is_loaded(tmp_path):
    inputs = keras.Input((3,))
    model = LossAwareModel(inputs, dense(1)(inputs))
    model.compile("sgd", loss="mse", accumulate_steps=3, run_eagerly=True)
    model.fit(X["features"], Y, 10, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.get_compile_config()["accumulate_steps"] == 3
    loaded.fit(X["features"], Y, 10, verbose=0)
    assert int(loaded.optimizer.iterations) == 2


# What is refused


@pytest.mark.parametrize("steps", [0, -1, 1.5, True, "2", None])
def test_a_number_of_steps_is_an_integer_from_one_on(steps):
    model = functional()
    with pytest.raises(ValueError, match="`accumulate_steps` must be an integer of at least 1"):
        model.compile("sgd", accumulate_steps=steps)
    assert not model.compiled


def accumulating_sgd():
    return keras.optimizers.SGD(gradient_accumulation_steps=2)


@pytest.mark.parametrize(
    "optimizer",
    [
        accumulating_sgd,
        lambda: keras.optimizers.LossScaleOptimizer(accumulating_sgd()),
        lambda: keras.optimizers.MultiOptimizer(
            keras.optimizers.OptimizerMap(accumulating_sgd())
        ),
    ],
    ids=["alone", "scaled", "among several"],
)
def test_an_optimizer_that_accumulates_is_refused(optimizer):
    with pytest.raises(ValueError, match="takes the place of `gradient_accumulation_steps`"):
        functional().compile(optimizer(), accumulate_steps=2)


def pursuing(**objectives):
    """A class with these objectives, each of the options of one that trains `one`."""

    def made(self):
        return {
            name: Objective(self.both, **{"trains": "one", **options})
            for name, options in objectives.items()
        }

    return type("Pursuing", (Pair,), {"objectives": made})


@pytest.mark.parametrize(
    ("cls", "rule"),
    [
        (pursuing(first={}, second={"trains": "other"}), "is for models of one objective"),
        (pursuing(first={"repeat": 2}), "'first' with `repeat`"),
        (pursuing(first={"every": 2}), "'first' with `every` or `when`"),
        (pursuing(first={"gradients": lambda pairs, again: pairs}), "computes them again"),
    ],
    ids=["two", "repeat", "every", "again"],
)
def test_objectives_that_are_not_updated_once_a_step_are_refused(cls, rule):
    model = cls()
    with pytest.raises(ValueError, match=f"`accumulate_steps` .*{rule}"):
        model.compile("sgd", accumulate_steps=2)
    assert not model.compiled


class ByHand(LossAwareModel):
    def train_step(self, data):
        x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            loss = self.compute_loss(x, y, self(x, training=True))
        weights = self.trainable_weights
        self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return {}


class Around(LossAwareModel):
    def train_step(self, data):
        return super().train_step(data)


@MODES
def test_a_step_that_updates_by_itself_is_refused(run_eagerly):
    model = compiled(lambda: functional(ByHand), 2, loss="mse", run_eagerly=run_eagerly)
    before = model.get_weights()
    with pytest.raises(ValueError, match=r"must call `super\(\).train_step\(data\)` where grad"):
        fit(model, batches((4,)), 1, steps_per_epoch=1)
    np.testing.assert_equal(model.get_weights(), before)


def test_a_step_around_that_of_the_library_accumulates():
    model = compiled(lambda: functional(Around), 2, loss="mse", run_eagerly=True)
    fit(model, batches((4, 4, 4)), 1, steps_per_epoch=3)
    assert int(model.optimizer.iterations) == 2


def test_a_count_that_is_trained_is_refused():
    def terms(x, y, y_pred):
        return {"trained": LossTerm(ops.sum(ops.square(y_pred - y)), ops.sum(ops.abs(y_pred)))}

    make = functools.partial(functional, hooked(terms, side_inputs=("keep",)))
    model = compiled(make, 2, run_eagerly=True)
    before = model.get_weights()
    with pytest.raises(ValueError, match=r"`count` .* must not depend .*\['trained'\]"):
        fit(model, batches((4,)), 1, steps_per_epoch=1)
    np.testing.assert_equal(model.get_weights(), before)


def test_weights_that_keras_overwrites_are_refused():
    inputs = keras.Input((16,))
    model = LossAwareModel(inputs, dense(16, dtype="float8_from_float32")(inputs))
    model.compile("sgd", loss="mse", accumulate_steps=2)
    with pytest.raises(ValueError, match="of float8 layers, which Keras overwrites"):
        model.train_on_batch(np.ones((4, 16)), np.ones((4, 16)))


class Late(LossAwareModel):
    """A layer that has no gradient in batches of four rows."""

    def __init__(self):
        super().__init__()
        self.one, self.late = dense(1), dense(1)
        for layer in (self.one, self.late):
            layer.build((None, 3))

    def call(self, x):
        scores = self.one(x)
        return scores if x.shape[0] == 4 else scores + self.late(x)


@pytest.mark.filterwarnings("ignore:Gradients do not exist for variables")
def test_weights_that_some_batches_alone_train_are_trained_eagerly_and_refused_in_a_graph():
    def data():
        yield X["features"][:4], Y[:4]
        yield X["features"][4:6], Y[4:6]

    model = compiled(Late, 2, lambda: keras.optimizers.SGD(0.1), loss="mse", run_eagerly=True)
    fit(model, data(), 1, steps_per_epoch=2)
    reference = compiled(Late)
    with tf.GradientTape() as tape:
        errors = [reference(x) - y for x, y in data()]
        loss = sum(tf.reduce_sum(tf.square(error)) for error in errors) / 6
    slopes = tape.gradient(loss, reference.trainable_weights)
    for weight, before, slope in zip(
        model.trainable_weights, reference.trainable_weights, slopes, strict=True
    ):
        np.testing.assert_allclose(weight, before - 0.1 * slope, **WITHIN)
    model = compiled(Late, 2, loss="mse")
    first, second = data()
    model.train_on_batch(*first)
    with pytest.raises(ValueError, match="must have a gradient of the same terms in all steps"):
        model.train_on_batch(*second)


@SLOW
@pytest.mark.filterwarnings("ignore:Gradients do not exist for variables")
def test_weights_with_a_gradient_of_0_are_trained_in_a_graph():
    class Touched(Late):
        def call(self, x):
            zero = ops.sum(self.late.kernel) + ops.sum(self.late.bias)
            return super().call(x) + 0.0 * zero

    def weights(run_eagerly):
        model = compiled(Touched, 2, loss="mse", run_eagerly=run_eagerly)
        model.train_on_batch(X["features"][:4], Y[:4])
        model.train_on_batch(X["features"][4:6], Y[4:6])
        return model.get_weights()

    for weight, other in zip(weights(False), weights(True), strict=True):
        np.testing.assert_allclose(weight, other, **WITHIN)
