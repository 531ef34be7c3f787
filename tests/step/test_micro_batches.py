"""`micro_batch_size`: the network sees some rows at a time, and every number is of the batch."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from keras_trainsteps import LossAwareModel, LossAwareSequential, LossTerm, Objective, losses
from keras_trainsteps.data import query_batches
from tests.losses.every_loss import every
from tests.losses.in_fit import model_and_data, object_of
from tests.toy import UNKNOWN_LENGTH, close, hooked

RNG = np.random.default_rng(0)
ROWS = 22
X = {
    "features": RNG.normal(size=(ROWS, 3)).astype("float32"),
    "query_id": np.sort(RNG.integers(0, 4, size=ROWS)),
}
Y = RNG.integers(0, 3, size=(ROWS, 1)).astype("float32")
WEIGHTS = RNG.uniform(1, 3, size=ROWS).astype("float32")
TOKENS = RNG.integers(0, 5, size=(ROWS, 6))
SLOW = pytest.mark.slow
pytestmark = UNKNOWN_LENGTH

dense = keras.layers.Dense


def hook(x, y, y_pred, sample_weight):
    """Terms of each kind: a pair sum, one value per row, a scalar, a count of its own."""
    pairs = losses.pairwise_logistic(
        y, y_pred, query_ids=x["query_id"], sample_weight=sample_weight
    )
    return {
        "pairs": pairs,
        "squares": ops.square(y_pred - y),
        "size": 0.1 * ops.mean(y_pred),
        "all": LossTerm(ops.sum(y_pred * ops.mean(y_pred)), ops.cast(ops.size(y), "float32")),
    }


Hooked = hooked(hook, side_inputs=("query_id",), weighted=True)


def functional(*hidden, cls=Hooked):
    inputs = keras.Input((3,), name="features")
    outputs = inputs
    for layer in hidden or (dense(4, "tanh", kernel_regularizer="l2"),):
        outputs = layer(outputs)
    return cls(inputs, dense(1)(outputs))


def with_activity():
    size = keras.regularizers.L2(0.1)
    return functional(dense(4, "tanh", activity_regularizer=size, kernel_regularizer="l2"))


def with_graph_terms():
    inputs = keras.Input((3,), name="features")
    hidden = dense(4, "tanh")(inputs)
    model = Hooked(inputs, dense(1)(hidden))
    model.add_loss(0.1 * ops.square(hidden), name="activity")
    model.add_metric(ops.abs(hidden), name="hidden")
    return model


class Subclassed(Hooked):
    def __init__(self):
        super().__init__()
        self.hidden, self.scores = dense(4, "tanh"), dense(1)

    def call(self, x):
        hidden = self.hidden(x["features"])
        self.add_loss(0.1 * ops.mean(ops.square(hidden)))
        self.add_loss(ops.mean(ops.abs(hidden)), name="named")
        self.add_metric(ops.mean(hidden), name="mean")
        self.add_metric(hidden, name="every")
        return self.scores(hidden)


class Phases(LossAwareModel):
    """Two objectives that see the output of one network, one after the other."""

    side_inputs = ("query_id",)

    def __init__(self):
        super().__init__()
        self.low, self.high = dense(4, "tanh"), dense(1)

    def call(self, x):
        return self.high(self.low(x["features"]))

    def objectives(self):
        return {
            "close": Objective(self.close, trains="high"),
            "pairs": Objective(self.pairs, trains="low"),
        }

    def close(self, y, y_pred):
        return {"squares": ops.square(y_pred - y)}

    def pairs(self, x, y, y_pred):
        return {"logistic": losses.pairwise_logistic(y, y_pred, query_ids=x["query_id"])}


def sequential():
    layers = [dense(4, "tanh"), dense(1)]
    return hooked(hook, base=LossAwareSequential, side_inputs=("query_id",), weighted=True)(
        layers
    )


MODELS = {
    "functional": functional,
    "activity": with_activity,
    "graph terms": with_graph_terms,
    "subclassed": Subclassed,
    "sequential": sequential,
    "objectives": Phases,
    "frozen BatchNormalization": lambda: functional(
        dense(4), keras.layers.BatchNormalization(trainable=False)
    ),
}
BY_DEFAULT = [("activity", "graph"), ("subclassed", "eager")]
MODES = {
    "eager": {"run_eagerly": True},
    "graph": {},
    "xla": {"jit_compile": True},
    "steps": {"steps_per_execution": 2},
    "accumulated": {"accumulate_steps": 2},
}


def trained(
    make, size, batch=ROWS, x=X, y=Y, weight=WEIGHTS, drop=False, optimizer=None, **options
):
    """Weights, history and evaluation after two epochs."""
    keras.utils.set_random_seed(3)
    model = make()
    optimizer = (optimizer or functools.partial(keras.optimizers.SGD, 0.1))()
    model.compile(optimizer, micro_batch_size=size, **options)
    data = (x, y) if weight is None else (x, y, weight)
    batches = tf.data.Dataset.from_tensor_slices(data).batch(batch, drop_remainder=drop)
    keras.utils.set_random_seed(5)
    history = model.fit(batches, epochs=2, verbose=0, shuffle=False).history
    evaluated = model.evaluate(batches, verbose=0, return_dict=True)
    return model.get_weights(), history, evaluated


def require_same(found, expected, within=1e-6):
    for weight, other in zip(found[0], expected[0], strict=True):
        np.testing.assert_allclose(weight, other, rtol=within, atol=within)
    for logs, others in zip(found[1:], expected[1:], strict=True):
        assert logs.keys() == others.keys()
        for name, values in others.items():
            np.testing.assert_allclose(logs[name], values, rtol=2e-6, atol=2e-6, err_msg=name)


CUT = pytest.mark.filterwarnings("ignore:.* batches of the epoch had rows of queries")


@CUT
@pytest.mark.parametrize(
    ("name", "mode"),
    [
        pytest.param(name, mode, marks=() if (name, mode) in BY_DEFAULT else SLOW)
        for name in MODELS
        for mode in MODES
        if (name, mode) != ("objectives", "accumulated")  # which `compile` refuses
    ],
)
def test_the_numbers_are_those_of_the_undivided_step(name, mode):
    options = {**MODES[mode], "batch": 10 if mode in ("steps", "accumulated") else ROWS}
    options["drop"] = mode == "xla"
    whole = trained(MODELS[name], None, **options)
    for size in (4, 11):
        require_same(trained(MODELS[name], size, **options), whole)


@CUT
@pytest.mark.slow
def test_the_numbers_in_a_graph_of_batches_of_any_size():
    require_same(trained(functional, 4, batch=9), trained(functional, None, batch=9))


@pytest.mark.parametrize("eager", [True, pytest.param(False, marks=SLOW)])
def test_a_batch_that_fits_is_the_undivided_step_to_the_bit(eager):
    options = {"run_eagerly": eager, "drop": True}
    whole = trained(with_activity, None, **options)
    for size in (ROWS, 100):
        found = trained(with_activity, size, **options)
        assert found[1:] == whole[1:]
        for weight, other in zip(found[0], whole[0], strict=True):
            np.testing.assert_array_equal(weight, other)


@every(default=lambda name: False)
def test_every_loss_trains_as_by_the_undivided_step(case):
    found = []
    for size in (None, 3):
        model, x, y, weight = model_and_data(case, LossAwareModel)
        model.compile(keras.optimizers.SGD(0.01), loss=object_of(case), micro_batch_size=size)
        options = {"batch_size": 10, "shuffle": False, "verbose": 0, "sample_weight": weight}
        found.append((model.fit(x, y, epochs=2, **options).history["loss"], model.get_weights()))
    np.testing.assert_allclose(found[1][0], found[0][0], rtol=1e-6)
    for weight, other in zip(found[1][1], found[0][1], strict=True):
        np.testing.assert_allclose(weight, other, rtol=1e-5, atol=1e-6)


def sequence_model():
    inputs = keras.Input((6,), dtype="int64")
    hidden = dense(4, "tanh")(keras.layers.Embedding(5, 4, mask_zero=True)(inputs))
    token = dense(5, name="token", dtype="float32")(hidden)
    length = keras.layers.GlobalAveragePooling1D()(hidden)
    outputs = {"token": token, "length": dense(1, name="length", dtype="float32")(length)}
    return LossAwareModel(inputs, outputs)


def of_sequences(size, **options):
    crossentropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return trained(
        sequence_model,
        size,
        batch=9,
        x=TOKENS,
        y={"token": TOKENS, "length": Y},
        weight=None,
        loss={"token": crossentropy, "length": "mse"},
        metrics={"token": ["accuracy"]},
        **options,
    )


def test_masks_and_several_outputs():
    require_same(of_sequences(4, run_eagerly=True), of_sequences(None, run_eagerly=True))


@pytest.mark.slow
def test_float16():
    def optimizer():  # of a scale at which nothing overflows, undivided or not
        return keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1), initial_scale=8)

    keras.config.set_dtype_policy("mixed_float16")
    try:
        whole = of_sequences(None, optimizer=optimizer)
        parts = of_sequences(4, optimizer=optimizer)
    finally:
        keras.config.set_dtype_policy("float32")
    np.testing.assert_allclose(parts[1]["loss"], whole[1]["loss"], rtol=1e-3)
    for weight, other in zip(parts[0], whole[0], strict=True):
        np.testing.assert_allclose(weight, other, rtol=1e-3, atol=1e-3)


def test_gradients_are_clipped_as_those_of_the_batch():
    options = {
        "run_eagerly": True,
        "optimizer": lambda: keras.optimizers.SGD(0.5, clipnorm=0.1, use_ema=True),
    }
    require_same(trained(functional, 5, **options), trained(functional, None, **options))


def with_dropout():
    return functional(dense(8), keras.layers.Dropout(0.5))


@pytest.mark.parametrize(
    "mode",
    [pytest.param(m, marks=() if m == "eager" else SLOW) for m in ("eager", "graph", "xla")],
)
def test_both_runs_draw_the_same_numbers(mode):
    weights, history, _ = trained(with_dropout, 10, drop=True, **MODES[mode])
    # By hand: what each micro-batch draws, within one tape.
    keras.utils.set_random_seed(3)
    model = with_dropout()
    optimizer = keras.optimizers.SGD(0.1)
    keras.utils.set_random_seed(5)

    def step():
        with tf.GradientTape() as tape:
            parts = [tf.constant(X["features"][begin : begin + 10]) for begin in (0, 10, 20)]
            y_pred = ops.concatenate([model(part, training=True) for part in parts])
            terms = hook(X, tf.constant(Y), y_pred, tf.constant(WEIGHTS))
            squares = ops.mean(terms["squares"][:, 0] * WEIGHTS)
            loss = terms["pairs"].value + squares + terms["size"] + terms["all"].value
        gradients = tape.gradient(loss, model.trainable_weights)
        optimizer.apply_gradients(zip(gradients, model.trainable_weights, strict=True))
        return loss

    if mode == "xla":  # which draws other numbers
        optimizer.build(model.trainable_weights)
        step = tf.function(step, jit_compile=True, autograph=False)
    logged = [float(step()) for _ in range(2)]
    assert history["loss"] == close(logged)
    for weight, other in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_allclose(weight, other, rtol=2e-6, atol=2e-6)


def test_a_layer_that_is_named_may_see_micro_batches():
    normalization = functools.partial(keras.layers.BatchNormalization, momentum=0.5, name="norm")
    options = {"run_eagerly": True, "per_micro_batch": "norm", "drop": True}
    weights, _, _ = trained(lambda: functional(normalization()), 11, **options)
    mean, features = np.zeros(3), X["features"].astype("float64")
    for _ in range(2):  # each epoch of one step: each half once, and not twice
        for half in (features[:11], features[11:]):
            mean = 0.5 * mean + 0.5 * half.mean(0)
    np.testing.assert_allclose(weights[2], mean, rtol=1e-5, atol=1e-6)


def test_filled_batches():
    def of_rows(x, y, y_pred, sample_weight):
        terms = hook(x, y, y_pred, sample_weight)
        return {name: terms[name] for name in ("pairs", "squares")}

    found = []
    for size in (None, 5):
        keras.utils.set_random_seed(3)
        model = functional(cls=hooked(of_rows, side_inputs=("query_id",), weighted=True))
        model.compile(keras.optimizers.SGD(0.1), micro_batch_size=size)
        batches = query_batches(
            X, Y, WEIGHTS, query_ids="query_id", batch_size=9, pad=True, seed=1
        )
        history = model.fit(batches, epochs=2, verbose=0).history
        found.append((model.get_weights(), history))
    require_same(found[1], found[0])


def test_a_graph_does_not_grow_with_the_number_of_micro_batches():
    sizes = []
    for size in (10, 2):
        model = functional()
        model.compile("sgd", micro_batch_size=size)
        data = tf.data.Dataset.from_tensors((X, Y, WEIGHTS)).map(lambda *row: row)
        step = tf.function(model.train_step, autograph=False)
        model.make_train_function()
        batch = next(iter(data))
        graph = step.get_concrete_function(batch).graph.as_graph_def()
        sizes.append(
            len(graph.node) + sum(len(function.node_def) for function in graph.library.function)
        )
    # One call more, of the rest of 22 rows by 10.
    assert sizes[1] <= sizes[0]


def test_a_network_that_the_hook_calls_again():
    class Twice(hooked(hook)):
        def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
            features = x["features"]
            with tf.GradientTape() as tape:
                tape.watch(features)
                again = self(x)
            slopes = tape.gradient(again, features)
            return {"squares": ops.square(y_pred - y), "slope": ops.sum(ops.square(slopes), -1)}

    Twice.side_inputs = ("query_id",)
    options = {"run_eagerly": True}
    make = functools.partial(functional, cls=Twice)
    require_same(trained(make, 5, **options), trained(make, None, **options))


def test_it_is_saved_with_the_model(tmp_path):
    model = functional(cls=LossAwareModel)
    model.compile("sgd", "mse", micro_batch_size=4, per_micro_batch=["dense"])
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    config = loaded.get_compile_config()
    assert (config["micro_batch_size"], config["per_micro_batch"]) == (4, ["dense"])
    loaded.compile("sgd", "mse")
    assert "micro_batch_size" not in loaded.get_compile_config()


class Counter(keras.layers.Layer):
    def build(self, shape):
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False, name="calls")

    def call(self, x):
        self.calls.assign_add(1.0)
        return x


class Noise(keras.layers.Layer):
    def call(self, x):
        return x + tf.random.normal(tf.shape(x))


class CompiledNoise(keras.layers.Layer):
    def build(self, shape):
        self.noise = tf.function(lambda x: x + tf.random.normal(tf.shape(x)))

    def call(self, x):
        return self.noise(x)


class HiddenGenerator(keras.layers.Layer):
    """Of a generator that Keras does not find."""

    def build(self, shape):
        generator = keras.random.SeedGenerator(1)
        self.noise = lambda x: x + keras.random.normal(ops.shape(x), seed=generator)

    def call(self, x):
        return self.noise(x)


class Keeping(keras.layers.Layer):
    def call(self, x):
        self.kept = ops.square(x)
        return x


class Total(keras.layers.Layer):
    def call(self, x):
        return ops.sum(x)


class Fixed(keras.layers.Layer):
    def call(self, x):
        return ops.reshape(ops.sum(x, 0), (3, 1))


class ByHand(LossAwareModel):
    def train_step(self, data):
        x, y, _ = data
        with tf.GradientTape() as tape:
            loss = ops.mean(ops.square(self(x, training=True) - y))
        gradients = tape.gradient(loss, self.trainable_weights)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_weights, strict=True))
        return {}


def of_layer(layer):
    inputs = keras.Input((3,), name="features")
    return hooked(lambda x, y, y_pred: {"size": ops.mean(y_pred)})(inputs, layer(inputs))


def stateful(layer):
    inputs = keras.Input(batch_shape=(ROWS, 3), name="features")
    return Hooked(inputs, dense(1)(layer(keras.layers.Reshape((3, 1))(inputs))))


REFUSED = {
    "a trained BatchNormalization": (
        lambda: functional(keras.layers.BatchNormalization(name="norm")),
        r"must not change in a call.*\['norm/moving_mean', 'norm/moving_variance'\]",
    ),
    "a layer that counts": (
        lambda: functional(Counter(name="counter")),
        r"must not change in a call.*\['counter/calls'\]",
    ),
    "numbers of TensorFlow": (
        lambda: functional(Noise()),
        r"must draw from `keras.random`.*\['RandomStandardNormal'\]",
    ),
    "numbers of TensorFlow in a function": (
        lambda: functional(CompiledNoise()),
        r"must draw from `keras.random`.*\['RandomStandardNormal'\]",
    ),
    "a generator that is no attribute": (
        lambda: functional(HiddenGenerator()),
        r"must not change in a call.*a variable that is of no layer.*make a `SeedGenerator`",
    ),
    "an attribute set in a call": (
        lambda: functional(Keeping(name="keeping")),
        r"must return what it computes.*\['keeping.kept'\]",
    ),
    "a stateful RNN": (
        lambda: stateful(keras.layers.LSTM(2, stateful=True, name="rnn")),
        r"must not go on from the batch before.*\['rnn'\]",
    ),
    "an output without rows": (lambda: of_layer(Total()), r"one entry per row.*shape \(\)"),
    "an output of its own rows": (
        lambda: of_layer(Fixed()),
        r"one entry per row.*shape \(3, 1\)",
    ),
    "a step by hand": (
        lambda: functional(cls=ByHand),
        "must call `super\\(\\).train_step\\(data\\)` where the network sees micro-batches",
    ),
}


@pytest.mark.parametrize("eager", [True, pytest.param(False, marks=SLOW)])
@pytest.mark.parametrize(("make", "rule"), REFUSED.values(), ids=REFUSED)
def test_what_would_give_other_numbers_is_refused_before_anything_changes(make, rule, eager):
    model = make()
    model.compile("sgd", micro_batch_size=11, run_eagerly=eager)
    data = tf.data.Dataset.from_tensor_slices((X, Y, WEIGHTS)).batch(ROWS, drop_remainder=True)
    before = model.get_weights()
    with pytest.raises(ValueError, match=rule):
        model.fit(data, verbose=0)
    for weight, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, other)


@pytest.mark.parametrize("size", [0, -1, 2.0, True, "4"])
def test_a_size_is_a_number_of_rows(size):
    with pytest.raises(
        ValueError, match="`micro_batch_size` must be `None`, or a number of rows"
    ):
        functional().compile("sgd", micro_batch_size=size)


def test_names_of_no_layer():
    with pytest.raises(ValueError, match="`per_micro_batch` goes with a `micro_batch_size`"):
        functional().compile("sgd", per_micro_batch="norm")
    with pytest.raises(TypeError, match="must be names of layers"):
        functional().compile("sgd", micro_batch_size=2, per_micro_batch=[3])
    model = functional()
    model.compile("sgd", micro_batch_size=2, per_micro_batch="norm", run_eagerly=True)
    with pytest.raises(ValueError, match=r"must name layers of the model. Received: \['norm'\]"):
        model.fit(X, Y, verbose=0)


def test_objectives_that_call_their_networks_themselves():
    class Own(Phases):
        def objectives(self):
            return {"small": Objective(self.small, trains="low")}

        def small(self, x):
            return {"size": ops.square(self.low(x["features"]))}

    with pytest.raises(ValueError, match=r"take `y_pred`.*\['small'\]"):
        Own().compile("sgd", micro_batch_size=2)


def test_inputs_that_cannot_be_cut():
    inputs = {"a": keras.Input((2,), name="a"), "b": keras.Input((2,), name="b", ragged=False)}
    model = LossAwareModel(inputs, dense(1)(inputs["a"]))
    model.compile("sgd", "mse", micro_batch_size=2, run_eagerly=True)
    x = {"a": np.ones((4, 2)), "b": np.ones((3, 2))}
    with pytest.raises(ValueError, match="same number of rows"):
        model.train_step((x, np.ones((4, 1))))


@CUT
@pytest.mark.slow
def test_batches_of_any_size_compiled_by_xla():
    options = {"batch": 9, "jit_compile": True}
    whole = trained(with_activity, None, **options)
    for size in (4, 9, 100):  # with a rest, without, and larger than any batch
        require_same(trained(with_activity, size, **options), whole)


@CUT
@pytest.mark.slow
@pytest.mark.parametrize("make", [with_activity, with_graph_terms])
def test_one_micro_batch_of_a_batch_of_any_size_is_the_undivided_step_to_the_bit(make):
    whole, found = (trained(make, size, batch=9) for size in (None, 100))
    assert found[1:] == whole[1:]
    for weight, other in zip(found[0], whole[0], strict=True):
        np.testing.assert_array_equal(weight, other)


@pytest.mark.parametrize(
    "clip", ["clipnorm", *(pytest.param(c, marks=SLOW) for c in ("global_clipnorm", "clipvalue"))]
)
def test_gradients_of_embeddings_are_clipped_by_rows(clip):
    """Keras clips what the rows of a batch give, before it adds up those of one id."""

    def optimizer():
        return keras.optimizers.SGD(1.0, **{clip: 0.001})

    options = {"run_eagerly": True, "optimizer": optimizer}
    require_same(of_sequences(4, **options), of_sequences(None, **options))


class Drawing(LossAwareModel):
    """A hook that draws, from the generator that layers draw from, too, or from its own."""

    def __init__(self, own):
        super().__init__()
        self.dropout, self.scores = keras.layers.Dropout(0.5, seed=1), dense(1)
        self.generator = keras.random.SeedGenerator(2) if own else self.dropout.seed_generator

    def call(self, x):
        return self.scores(self.dropout(x["features"]))

    def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
        drawn = keras.random.uniform((), seed=self.generator)
        return {"drawn": drawn + 0.0 * ops.mean(y_pred)}


@pytest.mark.parametrize("own", [True, False])
def test_numbers_that_a_hook_draws_go_on(own):
    def logged(size):
        make = functools.partial(Drawing, own)
        return trained(make, size, x={"features": X["features"]}, run_eagerly=True)[1]["drawn"]

    if own:
        assert logged(10) == logged(None)
        assert len(set(logged(10))) == 2
    else:  # the network draws three times a step, the hook once
        generator = keras.random.SeedGenerator(1)
        drawn = [float(keras.random.uniform((), seed=generator)) for _ in range(8)]
        assert logged(10) == close([drawn[3], drawn[7]])


@pytest.mark.slow
def test_a_hook_does_not_differentiate_an_output_without_activations():
    def slopes(x, y, y_pred):
        return {"slopes": ops.sum(ops.square(tf.gradients(y_pred, x["features"])[0]), -1)}

    model = functional(cls=hooked(slopes))
    model.compile("sgd", micro_batch_size=4)
    with pytest.raises(LookupError, match="its output must not be differentiated in a hook"):
        model.fit({"features": X["features"]}, Y, verbose=0)


@pytest.mark.slow
def test_inputs_of_other_rows_are_refused_while_it_runs():
    inputs = [keras.Input((3,)), keras.Input((2,))]
    model = LossAwareModel(inputs, dense(1)(inputs[0]) + ops.mean(inputs[1]))
    model.compile("sgd", "mse", micro_batch_size=4)
    table = np.ones((100, 2), "float32")
    kinds = [tf.TensorSpec((None, size)) for size in (3, 2, 1)]
    data = tf.data.Dataset.from_generator(
        lambda: iter([((X["features"], table), Y)]),
        output_signature=((kinds[0], kinds[1]), kinds[2]),
    )
    with pytest.raises(ValueError, match=r"must have the same number of rows.*attribute"):
        model.fit(data, verbose=0)
