"""`add_loss`, `add_metric` and `remove_term`: values, gradients, logs, and what is refused."""

import csv

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_trainsteps import LossAwareModel, LossAwareSequential, penalties
from keras_trainsteps.penalties import TrainableCoefficient, WeightPenalty

RNG = np.random.default_rng(0)
X = RNG.normal(size=(10, 3)).astype("float32")
Y = RNG.normal(size=(10, 1)).astype("float32")


def two_layers(cls=LossAwareModel):
    """Two `Dense`, and the hidden activation."""
    inputs = keras.Input((3,), name="features")
    hidden = keras.layers.Dense(4, name="first")(inputs)
    return cls(inputs, keras.layers.Dense(1, name="last")(hidden), name="two_layers"), hidden


def squared(model):
    first, last = model.get_layer("first").kernel, model.get_layer("last").kernel
    return lambda: keras.ops.sum(keras.ops.square(first)) * keras.ops.sum(keras.ops.abs(last))


def forward(weights, x):
    """Hidden activation and output, float64."""
    hidden = x.astype("float64") @ weights[0] + weights[1]
    return hidden, hidden @ weights[2] + weights[3]


def everything():
    model, hidden = two_layers()
    model.add_loss(squared(model), name="penalty")
    model.add_loss([keras.ops.square(hidden), 0.25])  # unnamed: `regularization`
    model.add_loss(keras.ops.mean(hidden), name="scalar")
    model.add_metric(keras.ops.abs(hidden), name="size")
    model.add_metric(lambda: keras.ops.max(model.get_layer("last").kernel), name="largest")
    return model


def test_values_are_those_of_the_formulas_whatever_the_batches_and_weights():
    model = everything()
    model.compile("sgd", loss="mse", loss_weights={"penalty": 0.5})
    weights = [weight.astype("float64") for weight in model.get_weights()]
    hidden, y_pred = forward(weights, X)
    expected = {
        "mse_loss": np.mean((Y - y_pred) ** 2 * 2.0),
        "penalty": np.sum(weights[0] ** 2) * np.sum(np.abs(weights[2])),
        "regularization": np.mean(hidden**2) + 0.25,
        "scalar": np.mean(hidden),
        "size": np.mean(np.abs(hidden)),
        "largest": np.max(weights[2]),
    }
    expected["loss"] = (
        expected["mse_loss"]
        + 0.5 * expected["penalty"]
        + expected["regularization"]
        + expected["scalar"]
    )
    found = model.evaluate(
        X, Y, batch_size=4, sample_weight=np.full(10, 2.0), verbose=0, return_dict=True
    )
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=2e-6), name


def by_hand(model, rate, scale=1.0):
    """One step of gradient descent, by a tape that adds `model.losses`."""
    with tf.GradientTape() as tape:
        y_pred = tf.cast(model(X, training=True), tf.float32)
        loss = tf.reduce_mean(tf.square(Y - y_pred))
        loss += tf.add_n([tf.cast(added, tf.float32) for added in model.losses])
        scaled = scale * loss
    gradients = tape.gradient(scaled, model.trainable_variables)
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        variable.assign(variable - rate * gradient / scale)
    return float(loss)


def with_coefficient(policy="float32"):
    keras.config.set_dtype_policy(policy)
    try:
        model, hidden = two_layers()
    finally:
        keras.config.set_dtype_policy("float32")
    penalty = WeightPenalty(
        penalties.sum_of_norms,
        weights=["first/kernel", "last/kernel"],
        coefficient=TrainableCoefficient(0.7, bounds=(0.1, 2.0)),
    )
    model.add_loss(penalty, name="norms")
    model.add_loss(keras.ops.square(hidden), name="activity")
    return model


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
@pytest.mark.parametrize("compiled", [{}, {"jit_compile": True}, {"run_eagerly": True}], ids=str)
def test_a_step_is_that_of_a_hand_written_tape(compiled, policy):
    model = with_coefficient(policy)
    keras.utils.set_random_seed(7)
    other = with_coefficient(policy)
    other.set_weights(model.get_weights())
    if policy == "float32":
        scale, absolute = 1.0, 1e-7
    else:  # the scale that Keras begins with, and sums of layers' gradients in float16
        scale, absolute = 2.0**15, 5e-5
    loss = by_hand(other, 0.1, scale)
    model.compile(keras.optimizers.SGD(0.1), loss="mse", **compiled)
    before = model.get_weights()
    history = model.fit(X, Y, batch_size=10, verbose=0).history
    assert history["loss"][0] == pytest.approx(loss, rel=1e-6)
    for weight, wanted, start in zip(
        model.get_weights(), other.get_weights(), before, strict=True
    ):
        np.testing.assert_allclose(weight, wanted, rtol=1e-6, atol=absolute)
        assert (weight != start).any()  # both kernels and the coefficient moved
    # The coefficient's gradient is float32 under any policy.
    np.testing.assert_allclose(
        model.trainable_weights[-1], other.trainable_weights[-1], rtol=1e-6
    )


def test_float16_moves_every_weight_as_float32_does():
    half = with_coefficient("mixed_float16")
    single = with_coefficient()
    single.set_weights(half.get_weights())
    for model in (half, single):
        model.compile(keras.optimizers.SGD(0.1), loss="mse")
        model.fit(X, Y, batch_size=10, verbose=0)
    assert [w.dtype for w in half.trainable_weights] == ["float32"] * 5
    for weight, wanted in zip(half.get_weights(), single.get_weights(), strict=True):
        np.testing.assert_allclose(weight, wanted, atol=2e-3)
    norms = [tf.norm(w) for w in half.trainable_weights if w.name == "kernel"]
    assert float(half.losses[-1]) == pytest.approx(
        float(half.trainable_weights[-1]) * float(tf.add_n(norms)), rel=1e-6
    )


def test_tensors_come_from_the_one_forward_pass():
    class Counting(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.calls = self.add_weight(initializer="zeros", trainable=False)

        def call(self, inputs):
            self.calls.assign(self.calls + 1)
            return inputs

    inputs = keras.Input((3,))
    counting = Counting()
    hidden = counting(inputs)
    model = LossAwareModel(inputs, keras.layers.Dense(1)(hidden))
    model.add_loss(keras.ops.square(hidden), name="activity")
    model.add_metric(keras.ops.abs(hidden), name="size")
    model.compile("sgd", loss="mse")
    counting.calls.assign(0.0)
    model.fit(X, Y, batch_size=4, epochs=2, verbose=0)
    assert float(counting.calls) == 6


def test_every_term_is_a_curve_until_it_is_removed(tmp_path):
    model = everything()
    model.compile("sgd", loss="mse")
    callbacks = [
        keras.callbacks.CSVLogger(tmp_path / "log.csv"),
        keras.callbacks.TensorBoard(tmp_path / "board", write_graph=False),
    ]
    names = {"loss", "mse_loss", "penalty", "scalar", "regularization", "size", "largest"}
    history = model.fit(X, Y, verbose=0, validation_data=(X, Y), callbacks=callbacks).history
    assert set(history) == names | {f"val_{name}" for name in names}
    with (tmp_path / "log.csv").open() as file:
        assert set(next(csv.reader(file))) == {"epoch", *history}
    for part in ("train", "validation"):
        (path,) = (tmp_path / "board" / part).glob("events*")
        events = [
            tf.compat.v1.Event.FromString(record.numpy())
            for record in tf.data.TFRecordDataset(str(path))
        ]
        tags = {value.tag for event in events for value in event.summary.value}
        assert {f"epoch_{name}" for name in names} <= tags
    for name in ("penalty", "scalar", "size"):
        model.remove_term(name)
    history = model.fit(X, Y, verbose=0).history
    assert set(history) == {"loss", "regularization", "largest"}


def test_what_is_added_after_a_step_takes_effect():
    model, hidden = two_layers()
    model.compile(keras.optimizers.SGD(0.0), loss="mse")
    before = model.fit(X, Y, verbose=0).history["loss"][0]
    model.add_loss(2.0, name="two")
    assert model.fit(X, Y, verbose=0).history["loss"][0] == pytest.approx(before + 2, rel=1e-6)
    model.add_loss(keras.ops.mean(hidden) * 0 + 1, name="one")
    assert model.evaluate(X, Y, verbose=0, return_dict=True)["loss"] == pytest.approx(before + 3)


class Called(LossAwareModel):
    """A model that adds losses in `call`, as Keras 2 guides do."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.hidden = keras.layers.Dense(4)
        self.scores = keras.layers.Dense(1)
        self.scale = tf.Variable(2.0)

    def call(self, inputs):
        hidden = self.hidden(inputs)
        self.add_loss(keras.ops.mean(keras.ops.square(hidden)), name="activity")
        self.add_loss(self.scale * keras.ops.mean(hidden))
        self.add_loss(0.5)
        return self.scores(hidden)


@pytest.mark.parametrize("eager", [False, True])
def test_losses_within_call(eager):
    model = Called()
    model.compile(keras.optimizers.SGD(0.1), loss="mse", run_eagerly=eager)
    history = model.fit(X, Y, batch_size=10, epochs=2, verbose=0).history
    assert set(history) == {"loss", "mse_loss", "activity", "regularization"}
    assert float(model.scale.numpy()) != 2.0  # a `tf.Variable`, and trained
    assert len(model.trainable_weights) == 5
    parts = sum(history[name][1] for name in history if name != "loss")
    assert history["loss"][1] == pytest.approx(parts, rel=1e-6)


@pytest.mark.parametrize("outer", [keras.Model, LossAwareModel])
def test_a_model_inside_another_brings_its_losses(outer):
    inner, hidden = two_layers()
    inner.add_loss(squared(inner), name="penalty")
    inner.add_loss(keras.ops.square(hidden), name="activity")
    inputs = keras.Input((3,))
    model = outer(inputs, inner(inputs))
    model.compile(keras.optimizers.SGD(0.0), loss="mse")
    logs = model.evaluate(X, Y, verbose=0, return_dict=True)
    values = [float(squared(inner)()), float(np.mean(forward(inner.get_weights(), X)[0] ** 2))]
    mse = np.mean((Y - inner.predict(X, verbose=0)) ** 2)
    assert logs["loss"] == pytest.approx(mse + sum(values), rel=1e-5)
    if outer is LossAwareModel:
        assert [logs["penalty"], logs["activity"]] == pytest.approx(values, rel=1e-5)


def test_outputs_pass_through_with_their_names_structure_and_masks():
    tokens = keras.Input((4,), dtype="int32")
    embedded = keras.layers.Embedding(5, 3, mask_zero=True)(tokens)
    outputs = {
        "each": keras.layers.Dense(1, name="per_token")(embedded),
        "all": keras.layers.GRU(2, name="per_row")(embedded),
    }
    x = RNG.integers(0, 5, size=(6, 4))
    x[:, 0] = 1
    y = {"each": RNG.normal(size=(6, 4, 1)), "all": RNG.normal(size=(6, 2))}
    plain, added = LossAwareModel(tokens, outputs), LossAwareModel(tokens, outputs)
    added.add_loss(keras.ops.mean(embedded) * 0.0, name="nothing")
    assert added.output_names == plain.output_names
    found = []
    for model in (plain, added):
        model.compile(keras.optimizers.SGD(0.0), loss={"each": "mse", "all": "mae"})
        found.append(model.evaluate(x, y, verbose=0, return_dict=True))
        assert sorted(model.predict(x, verbose=0)) == ["all", "each"]
    assert found[1].pop("nothing") == 0.0
    assert found[0] == found[1]


def test_sequential_models_take_functions_and_penalties():
    model = LossAwareSequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.add_loss(WeightPenalty(penalties.sum_of_norms, weights=["*/kernel"]), name="norm")
    model.compile(keras.optimizers.SGD(0.0), loss="mse")
    norm = float(np.linalg.norm(model.get_weights()[0]))
    assert model.fit(X, Y, verbose=0).history["norm"][0] == pytest.approx(norm, rel=1e-6)


class AddsInCall(LossAwareModel):
    def __init__(self):
        super().__init__()
        self.scores = keras.layers.Dense(1)

    def call(self, inputs):
        scores = self.scores(inputs)
        self.add_loss(keras.ops.mean(keras.ops.square(scores)), name="size")
        return scores


@pytest.mark.parametrize("eager", [False, True])
def test_a_model_that_adds_a_loss_in_call_is_built_by_fit(eager):
    """Keras builds it by its `call` alone; a failure there would be a warning."""
    model = AddsInCall()
    model.compile(keras.optimizers.SGD(0.0), loss="mse", run_eagerly=eager)
    history = model.fit(X, Y, verbose=0).history
    scores = model.predict(X, verbose=0).astype("float64")
    assert history["size"][0] == pytest.approx(np.mean(scores**2), rel=1e-5)


def stray():
    return keras.layers.Dense(2, name="stray")(keras.Input((3,), name="elsewhere"))


SCALAR = r"must be a scalar. Received: shape \(3, 4\)"
BAD = {
    "tensor": (lambda m: m.add_loss(tf.constant(1.0)), TypeError, "add_loss.lambda: .*"),
    "object": (lambda m: m.add_loss("mse"), TypeError, "Received: str"),
    "no scalar": (lambda m: m.add_loss(lambda: m.layers[1].kernel), ValueError, SCALAR),
    "no gradient": (
        lambda m: m.add_loss(lambda: tf.reduce_sum(m.layers[1].kernel.numpy()), name="p"),
        ValueError,
        "Added loss 'p' has no gradient: it would train nothing.*reads \\['first/kernel'\\]",
    ),
    "other graph": (
        lambda m: m.add_loss(stray(), name="p"),
        ValueError,
        r"'two_layers' with inputs \['features'\]. Received: 'p', an output of 'stray'",
    ),
    "taken": (lambda m: m.add_loss(1.0, name="taken"), ValueError, "'taken', which is taken"),
    "reserved": (lambda m: m.add_loss(1.0, name="loss"), ValueError, "'loss', which is taken"),
    "prefix": (lambda m: m.add_metric(lambda: 1.0, name="val_a"), ValueError, "not start with"),
    "many": (lambda m: m.add_loss([1.0, 2.0], name="p"), ValueError, "must name one loss"),
    "aggregation": (
        lambda m: m.add_metric(lambda: 1.0, name="p", aggregation="sum"),
        ValueError,
        "`aggregation` must be 'mean'. Received: 'sum'",
    ),
    "unnamed coefficient": (
        lambda m: m.add_loss(
            WeightPenalty(
                penalties.sum_of_norms, weights=["*"], coefficient=TrainableCoefficient(1.0)
            )
        ),
        ValueError,
        "`name` is needed for a loss with trainable coefficients",
    ),
    "unknown": (lambda m: m.remove_term("p"), ValueError, r"'p', of \['taken'\]"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_refused_changes_nothing(case):
    act, error, message = BAD[case]
    model, _ = two_layers()
    model.add_loss(1.0, name="taken")
    layers = list(model.layers)
    with pytest.raises(error, match=message):
        act(model)
    assert model.layers == layers
    assert [float(loss) for loss in model.losses] == [1.0]


def test_a_tensor_of_a_model_without_a_graph_is_refused():
    with pytest.raises(ValueError, match="for a model without such a graph"):
        Called().add_loss(keras.ops.mean(keras.Input((3,))))


def test_names_that_the_model_logs_already_are_refused():
    model, _ = two_layers()
    model.add_loss(1.0, name="mae")
    model.compile("sgd", loss="mse", metrics=["mae"])
    with pytest.raises(ValueError, match=r"needs a name of its own.*Received: \['mae'\]"):
        model.evaluate(X, Y, verbose=0)


def test_nothing_is_added_while_fit_runs():
    model, _ = two_layers()
    model.compile("sgd", loss="mse")
    add = keras.callbacks.LambdaCallback(on_epoch_begin=lambda *_: model.add_loss(1.0))
    with pytest.raises(ValueError, match="Received: a call while it runs"):
        model.fit(X, Y, verbose=0, callbacks=[add])


def test_new_weights_after_the_optimizer_has_seen_the_others_are_refused():
    model, hidden = two_layers()
    model.compile("adam", loss="mse")
    model.fit(X, Y, verbose=0)
    head = keras.ops.mean(keras.layers.Dense(1, name="head")(hidden))
    penalty = WeightPenalty(
        penalties.sum_of_norms, weights=["*/kernel"], coefficient=TrainableCoefficient(1.0)
    )
    for loss in (head, penalty):
        with pytest.raises(ValueError, match="must be added or removed before the optimizer"):
            model.add_loss(loss, name="new")
    model.compile("adam", loss="mse")
    model.add_loss(head, name="head")
    model.add_loss(penalty, name="new")
    assert {"head", "new"} <= set(model.fit(X, Y, verbose=0).history)
    assert "head/kernel" in [weight.path for weight in model.trainable_weights]
    with pytest.raises(ValueError, match="must be added or removed before the optimizer"):
        model.remove_term("new")


@pytest.mark.parametrize("run_eagerly", [False, True], ids=["graph", "eager"])
def test_a_metric_of_the_forward_pass_is_added_within_call(run_eagerly):
    class Sized(LossAwareModel):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")

        def call(self, inputs):
            scores = self.dense(inputs)
            self.add_metric(keras.ops.abs(scores), name="size")
            self.add_metric(keras.ops.max(scores), name="largest")
            return scores

    model = Sized()
    x = np.random.default_rng(3).normal(size=(10, 3)).astype("float32")
    y = np.zeros((10, 1), "float32")
    model.compile(keras.optimizers.SGD(0.0), loss="mse", run_eagerly=run_eagerly)
    model.predict(x, verbose=0)
    options = {"batch_size": 4, "verbose": 0}
    history = model.fit(x, y, shuffle=False, validation_data=(x, y), **options).history
    scores = x.astype("float64").sum(axis=1)
    batches = [scores[:4], scores[4:8], scores[8:]]
    expected = {
        "size": np.mean(np.abs(scores)),
        "largest": sum(len(batch) * batch.max() for batch in batches) / 10,
    }
    for name, value in expected.items():
        assert history[name] == history[f"val_{name}"] == [pytest.approx(value, rel=1e-6)]


def test_a_metric_added_in_the_call_of_an_inner_model_is_logged():
    class Inner(LossAwareModel):
        def call(self, inputs):
            self.add_metric(keras.ops.max(inputs), name="largest")
            self.add_loss(keras.ops.mean(inputs), name="mean")
            return inputs

    inputs = keras.Input((3,))
    model = LossAwareModel(inputs, keras.layers.Dense(1)(Inner()(inputs)))
    model.compile("sgd", loss="mse")
    logs = model.evaluate(X, Y, verbose=0, batch_size=10, return_dict=True)
    assert logs["largest"] == pytest.approx(X.max(), rel=1e-6)
    assert logs["mean"] == pytest.approx(X.mean(), rel=1e-5)
