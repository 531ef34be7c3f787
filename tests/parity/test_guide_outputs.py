"""The guide's model of two inputs and two outputs: stock weights, losses that add up.

Keras averages the loss of each output over batches, not rows (seen in 3.15.1); its logged
components then do not add up to its `loss`. Here they are compared with the formulas.
"""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from keras_trainsteps import LossAwareModel

from .guide import assert_equal, outcome, same_as_stock

OWN_NUMBERS = ("score_output_loss", "class_output_loss")
RNG = np.random.default_rng(0)
img_data = RNG.random(size=(100, 32, 32, 3))
ts_data = RNG.random(size=(100, 20, 10))
score_targets = RNG.random(size=(100, 1))
class_targets = RNG.random(size=(100, 5))
X = {"img_input": img_data, "ts_input": ts_data}
Y = {"score_output": score_targets, "class_output": class_targets}


def two_outputs(cls):
    image_input = keras.Input(shape=(32, 32, 3), name="img_input")
    timeseries_input = keras.Input(shape=(None, 10), name="ts_input")
    x1 = layers.Conv2D(3, 3)(image_input)
    x1 = layers.GlobalMaxPooling2D()(x1)
    x2 = layers.Conv1D(3, 3)(timeseries_input)
    x2 = layers.GlobalMaxPooling1D()(x2)
    x = layers.concatenate([x1, x2])
    score_output = layers.Dense(1, name="score_output")(x)
    class_output = layers.Dense(5, name="class_output")(x)
    return cls(
        inputs=[image_input, timeseries_input],
        outputs=[score_output, class_output],
    )


def both():
    return [
        keras.losses.MeanSquaredError(),
        keras.losses.CategoricalCrossentropy(from_logits=True),
    ]


def metrics_of_both():
    return [
        [keras.metrics.MeanAbsolutePercentageError(), keras.metrics.MeanAbsoluteError()],
        [keras.metrics.CategoricalAccuracy()],
    ]


def by_name(entries):
    return dict(zip(("score_output", "class_output"), entries, strict=True))


COMPILED = {
    "list": lambda: {"loss": both(), "loss_weights": [1, 1]},
    "list with metrics": lambda: {"loss": both(), "metrics": metrics_of_both()},
    "dict": lambda: {"loss": by_name(both()), "metrics": by_name(metrics_of_both())},
    "weights": lambda: {"loss": both(), "loss_weights": [0.25, 3.0]},
    "None": lambda: {"loss": [None, both()[1]]},
}
DATA = {
    "lists": lambda: {"x": [img_data, ts_data], "y": [score_targets, class_targets]},
    "dicts": lambda: {"x": X, "y": Y},
    "dataset of tuples": lambda: {
        "x": dataset(((img_data, ts_data), (score_targets, class_targets)))
    },
    "dataset of dicts": lambda: {"x": dataset((X, Y))},
}
SOME = [
    ("list with metrics", "dicts"),
    ("dict", "dataset of tuples"),
]
REST = [pair for pair in itertools.product(COMPILED, DATA) if pair not in SOME]


def dataset(structure):
    dataset = tf.data.Dataset.from_tensor_slices(structure)
    return dataset.shuffle(buffer_size=1024).batch(64)


def trains_as_stock(compiled, data):
    def run(cls):
        model = two_outputs(cls)
        model.compile(optimizer=keras.optimizers.RMSprop(1e-3), **COMPILED[compiled]())
        given = DATA[data]()
        if "y" in given:
            given["batch_size"] = 32
        history = model.fit(epochs=2, verbose=0, **given).history
        return model, {name: log for name, log in history.items() if name not in OWN_NUMBERS}

    return same_as_stock(run)


# An output without a loss trains nothing of its own, of which Keras warns.
PREDICTS_ONLY = "ignore:Gradients do not exist for variables:UserWarning"
SHUFFLE = "ignore:`shuffle=True` was passed:UserWarning"


@pytest.mark.slow
@pytest.mark.filterwarnings(PREDICTS_ONLY, SHUFFLE)
@pytest.mark.parametrize(("compiled", "data"), SOME)
def test_trains_as_stock(compiled, data):
    trains_as_stock(compiled, data)


@pytest.mark.slow
@pytest.mark.filterwarnings(PREDICTS_ONLY, SHUFFLE)
@pytest.mark.parametrize(("compiled", "data"), REST)
def test_trains_as_stock_however_it_is_written(compiled, data):
    trains_as_stock(compiled, data)


def test_losses_and_metrics_are_the_formulas_and_add_up():
    model = two_outputs(LossAwareModel)
    model.compile(loss=by_name(both()), loss_weights=[0.25, 3.0], metrics=metrics_of_both())
    logs = model.evaluate(X, Y, batch_size=32, verbose=0, return_dict=True)  # 32 * 3 + 4 rows
    score, logits = (part.astype("float64") for part in model.predict(X, verbose=0))
    log_softmax = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    error = np.abs(score - score_targets)
    expected = {
        "score_output_loss": np.mean(error**2),
        "class_output_loss": np.mean(-np.sum(class_targets * log_softmax, axis=1)),
        "score_output_mean_absolute_error": np.mean(error),
        "score_output_mean_absolute_percentage_error": 100 * np.mean(error / score_targets),
        "class_output_categorical_accuracy": np.mean(logits.argmax(1) == class_targets.argmax(1)),
    }
    expected["loss"] = 0.25 * expected[OWN_NUMBERS[0]] + 3 * expected[OWN_NUMBERS[1]]
    assert set(logs) == set(expected)
    for name, value in expected.items():
        # A relative error is the quotient of float32 numbers as small as 1e-3.
        assert logs[name] == pytest.approx(value, rel=1e-5), name


@pytest.mark.filterwarnings(PREDICTS_ONLY)
def test_an_output_that_only_predicts_may_be_left_out_of_the_dict():
    """The guide's last `compile`, which Keras 3 refuses ("Expected keys")."""

    def run(loss):
        def train(cls):
            model = two_outputs(cls)
            model.compile(optimizer=keras.optimizers.RMSprop(1e-3), loss=loss)
            history = model.fit(X, Y, batch_size=32, epochs=1, verbose=0).history
            return model, history["loss"]

        return train

    left_out = outcome(run({"class_output": both()[1]}), LossAwareModel)
    assert_equal(outcome(run([None, both()[1]]), keras.Model), left_out)


def test_several_losses_on_one_output_are_trained_and_named():
    """`loss=["mse", "mae"]` trains the first only in Keras; here it is their sum."""
    x, y = RNG.normal(size=(50, 3)), RNG.normal(size=(50, 1))

    def run(loss):
        def train(cls):
            inputs = keras.Input((3,))
            model = cls(inputs, layers.Dense(1)(inputs))
            model.compile(optimizer=keras.optimizers.SGD(0.1), loss=loss)
            history = model.fit(x, y, batch_size=16, epochs=2, shuffle=False, verbose=0).history
            return model, history

        return train

    def total(y_true, y_pred):
        error = y_true - y_pred
        return tf.reduce_mean(tf.square(error), -1) + tf.reduce_mean(tf.abs(error), -1)

    (stock, stock_weights), (own, weights) = (
        outcome(run(total), keras.Model),
        outcome(run(["mse", "mae"]), LossAwareModel),
    )
    for one, other in zip(stock_weights, weights, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-6)
    np.testing.assert_allclose(own["loss"], stock["loss"], rtol=1e-6)
    parts = np.add(own["mse_loss"], own["mae_loss"])
    np.testing.assert_allclose(parts, own["loss"], rtol=1e-6)
