"""`LossAwareModel` against stock `keras.Model`: the same numbers to the last bit."""

import keras
import numpy as np
import pytest

from keras_trainsteps import LossAwareModel, LossAwareSequential

RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, 3)).astype("float32")
Y = RNG.normal(size=(50, 1)).astype("float32")
WEIGHT = RNG.uniform(size=50).astype("float32")


class SquaredError(LossAwareModel):
    def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
        return {"squared_error": keras.ops.mean(keras.ops.square(y - y_pred), axis=-1)}


def layers():
    return [
        keras.layers.Dense(8, "tanh", kernel_regularizer=keras.regularizers.L2(0.1)),
        keras.layers.Dense(1),
    ]


def functional(cls):
    inputs = keras.Input((3,))
    hidden, output = layers()
    return cls(inputs, output(hidden(inputs)))


def called(cls):
    class Called(cls):
        def __init__(self):
            super().__init__()
            self.hidden, self.output_layer = layers()

        def call(self, inputs):
            return self.output_layer(self.hidden(inputs))

    return Called()


def sequential(cls):
    return cls([keras.Input((3,)), *layers()])


def train(build, cls, loss, **options):
    keras.utils.set_random_seed(1)
    model = build(cls)
    model.compile("adam", loss=loss, metrics=["mae"], **options)
    history = model.fit(
        X,
        Y,
        sample_weight=WEIGHT,
        epochs=3,
        batch_size=16,
        verbose=0,
        validation_data=(X[:20], Y[:20], WEIGHT[:20]),
    )
    return history.history, [weight.numpy() for weight in model.weights]


@pytest.mark.parametrize(
    "options",
    [
        {},
        pytest.param({"steps_per_execution": 4}, marks=pytest.mark.slow),
        pytest.param({"run_eagerly": True}, marks=pytest.mark.slow),
        pytest.param({"jit_compile": True}, marks=pytest.mark.slow),
    ],
    ids=["graph", "4 steps per execution", "eager", "xla"],
)
def test_hook_and_compiled_loss_equal_stock_to_the_bit(options):
    history, weights = train(functional, keras.Model, "mse", **options)
    for cls, loss in ((SquaredError, None), (LossAwareModel, "mse")):
        own_history, own_weights = train(functional, cls, loss, **options)
        assert all((a == b).all() for a, b in zip(weights, own_weights, strict=True))
        assert history == {key: own_history[key] for key in history}


@pytest.mark.slow
def test_weighted_metrics_equal_stock_to_the_bit():
    # Not under XLA: what else a program computes decides which sums XLA fuses, and so
    # the last bit of the logged loss.
    history, weights = train(functional, keras.Model, "mse", weighted_metrics=["mse"])
    own = train(functional, SquaredError, None, weighted_metrics=["mse"])
    assert all((a == b).all() for a, b in zip(weights, own[1], strict=True))
    assert history == {key: own[0][key] for key in history}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("build", "stock", "cls"),
    [
        (called, keras.Model, SquaredError),
        (sequential, keras.Sequential, LossAwareSequential),
    ],
    ids=["called", "sequential"],
)
def test_other_kinds_of_model_equal_stock_to_the_bit(build, stock, cls):
    loss = None if cls is SquaredError else "mse"
    history, weights = train(build, stock, "mse")
    own_history, own_weights = train(build, cls, loss)
    assert all((a == b).all() for a, b in zip(weights, own_weights, strict=True))
    assert history == {key: own_history[key] for key in history}


LOSSES = {
    "single": ("mse", None),
    "list": (["mse", "mae"], [1.0, 0.5]),
    "dict": ({"a": "mse", "b": keras.losses.Huber()}, {"a": 0.3, "b": 2.0}),
    "none": ({"a": "mse", "b": None}, None),
}


# An output without a loss trains nothing of its own, of which Keras warns.
@pytest.mark.filterwarnings("ignore:Gradients do not exist for variables:UserWarning")
@pytest.mark.parametrize(
    ("loss", "loss_weights"),
    [
        pytest.param(*given, id=name, marks=() if name in ("list", "dict") else pytest.mark.slow)
        for name, given in LOSSES.items()
    ],
)
def test_several_outputs_train_as_stock_to_the_bit(loss, loss_weights):
    def build(cls):
        keras.utils.set_random_seed(1)
        inputs = keras.Input((3,))
        hidden = layers()[0](inputs)
        outputs = [keras.layers.Dense(1, name=name)(hidden) for name in "ab"]
        model = cls(inputs, outputs)
        model.compile("adam", loss=loss, loss_weights=loss_weights)
        targets = [Y, 2 * Y] if isinstance(loss, list | str) else {"a": Y, "b": 2 * Y}
        history = model.fit(X, targets, epochs=2, batch_size=25, verbose=0)
        return history.history["loss"], [weight.numpy() for weight in model.weights]

    stock_loss, stock_weights = build(keras.Model)
    own_loss, own_weights = build(LossAwareModel)
    assert all((a == b).all() for a, b in zip(stock_weights, own_weights, strict=True))
    assert stock_loss == own_loss


@pytest.mark.parametrize(
    ("loss", "y"),
    [
        ("mse", Y),
        ("ce", (Y > 0).astype("int64")),
        (keras.losses.BinaryCrossentropy(label_smoothing=0.1), (Y > 0).astype("float32")),
        (keras.losses.MeanSquaredError(reduction="sum"), Y),
        (lambda y_true, y_pred: keras.ops.mean(keras.ops.abs(y_true - y_pred)), Y),
    ],
    ids=["mse", "ce", "bce", "sum", "scalar function"],
)
def test_compiled_losses_evaluate_as_stock(loss, y):
    def evaluate(cls):
        keras.utils.set_random_seed(1)
        inputs = keras.Input((3,))
        model = cls(inputs, keras.layers.Dense(1, "sigmoid")(inputs))
        model.compile("sgd", loss=loss)
        return model.evaluate(X, y, sample_weight=WEIGHT, batch_size=16, verbose=0)

    assert evaluate(keras.Model) == evaluate(LossAwareModel)
