"""What several blocks of the guide share, as it prints it."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from keras_trainsteps import LossAwareModel


def outcome(run, cls):
    """What a block returns, and the weights after it, from the same random state."""
    keras.utils.set_random_seed(3)
    model, results = run(cls)
    return results, model.get_weights()


def same_as_stock(run):
    """Asserts that a block ends alike on both classes; returns what it returned on ours."""
    stock, stock_weights = outcome(run, keras.Model)
    own, own_weights = outcome(run, LossAwareModel)
    assert_equal(stock, own)
    assert_equal(stock_weights, own_weights)
    return own


def assert_equal(stock, own):
    """Equal numbers in equal structures; logs may hold more than those of Keras."""
    if isinstance(stock, dict):
        assert set(stock) <= set(own)
        for key in stock:
            assert_equal(stock[key], own[key])
    elif isinstance(stock, list | tuple):
        assert len(stock) == len(own)
        for one, other in zip(stock, own, strict=True):
            assert_equal(one, other)
    else:
        np.testing.assert_array_equal(stock, own)


def digits(*, train, val, test):
    """The guide's arrays, from a random state of their own."""
    rng = np.random.default_rng(0)
    x = rng.random((train + val + test, 784))
    y = rng.integers(10, size=(train + val + test, 1))
    cuts = [train, train + val]
    return [
        part for parts in zip(np.split(x, cuts), np.split(y, cuts), strict=True) for part in parts
    ]


def classifier(cls):
    inputs = keras.Input(shape=(784,), name="digits")
    x = layers.Dense(64, activation="relu", name="dense_1")(inputs)
    x = layers.Dense(64, activation="relu", name="dense_2")(x)
    outputs = layers.Dense(10, name="predictions")(x)
    return cls(inputs=inputs, outputs=outputs)


def compiled_classifier(cls, **options):
    model = classifier(cls)
    model.compile(
        optimizer=keras.optimizers.RMSprop(1e-3),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        **options,
    )
    return model


def crossentropy(labels, logits):
    """`log(sum(exp(logits))) - logits[label]` of each row, in float64."""
    chosen = np.take_along_axis(logits, labels, axis=1)[:, 0]
    return np.logaddexp.reduce(logits, axis=1) - chosen


def basic_loss_function(y_true, y_pred):
    return tf.math.reduce_mean(tf.abs(y_true - y_pred))


class WeightedBinaryCrossEntropy(keras.losses.Loss):
    """The guide's; its default `Reduction.AUTO` is "sum_over_batch_size" in Keras 3."""

    def __init__(
        self,
        pos_weight,
        weight,
        from_logits=False,
        reduction="sum_over_batch_size",
        name="weighted_binary_crossentropy",
    ):
        super().__init__(reduction=reduction, name=name)
        self.pos_weight = pos_weight
        self.weight = weight
        self.from_logits = from_logits

    def call(self, y_true, y_pred):
        ce = keras.losses.binary_crossentropy(
            y_true,
            y_pred,
            from_logits=self.from_logits,
        )[:, None]
        ce = self.weight * (ce * (1 - y_true) + self.pos_weight * ce * y_true)
        return ce


class CategoricalTruePositives(keras.metrics.Metric):
    def __init__(self, name="categorical_true_positives", **kwargs):
        super().__init__(name=name, **kwargs)
        self.true_positives = self.add_weight(name="tp", initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        y_pred = tf.reshape(tf.argmax(y_pred, axis=1), shape=(-1, 1))
        values = tf.cast(y_true, "int32") == tf.cast(y_pred, "int32")
        values = tf.cast(values, "float32")
        if sample_weight is not None:
            sample_weight = tf.cast(sample_weight, "float32")
            values = tf.multiply(values, sample_weight)
        self.true_positives.assign_add(tf.reduce_sum(values))

    def result(self):
        return self.true_positives

    def reset_states(self):
        # The state of the metric will be reset at the start of each epoch.
        self.true_positives.assign(0.0)
