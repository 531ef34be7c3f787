"""A guide to `compile`, `fit`, `evaluate` and `predict`: stock numbers.

Each block is the guide's own, with `keras.Model` as `cls` and fewer rows. It is run on
stock Keras 3 and on `LossAwareModel` from the same weights; what both log, predict and
learn must be equal to the last bit. Formulas are those of NumPy in float64.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from keras_trainsteps import LossAwareModel

from . import guide
from .guide import (
    CategoricalTruePositives,
    WeightedBinaryCrossEntropy,
    assert_equal,
    basic_loss_function,
    outcome,
    same_as_stock,
)


def end_to_end(cls, data):
    """The first block: `fit` with validation, `evaluate`, `predict`."""
    x_train, y_train, x_val, y_val, x_test, y_test = data
    model = guide.classifier(cls)
    model.compile(
        optimizer=keras.optimizers.RMSprop(),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["sparse_categorical_accuracy"],
    )
    history = model.fit(
        x_train,
        y_train,
        batch_size=64,
        epochs=3,
        validation_data=(x_val, y_val),
        verbose=0,
    )
    results = model.evaluate(x_test, y_test, batch_size=128, verbose=0)
    predictions = model.predict(x_test[:3], verbose=0)
    return model, [history.history, results, predictions]


def test_end_to_end():
    data = guide.digits(train=500, val=70, test=150)
    history, results, predictions = same_as_stock(lambda cls: end_to_end(cls, data))
    assert sorted(history) == sorted(
        [f"{v}{name}" for v in ("", "val_") for name in ("loss", "sparse_categorical_accuracy")]
    )
    assert len(results) == 2
    assert predictions.shape == (3, 10)
    assert history["loss"][-1] < history["loss"][0]


@pytest.mark.slow
def test_end_to_end_with_50_000_rows():
    data = guide.digits(train=50_000, val=10_000, test=10_000)
    same_as_stock(lambda cls: end_to_end(cls, data))


def test_evaluate_gives_the_formulas():
    *_, x_test, y_test = guide.digits(train=1, val=1, test=150)
    model = guide.classifier(LossAwareModel)
    model.compile(
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["sparse_categorical_accuracy", CategoricalTruePositives()],
    )
    results = model.evaluate(x_test, y_test, batch_size=64, verbose=0)  # 64 + 64 + 22 rows
    logits = model.predict(x_test, verbose=0).astype("float64")
    hits = logits.argmax(axis=1) == y_test[:, 0]
    loss = guide.crossentropy(y_test, logits).mean()
    np.testing.assert_allclose(results, [loss, hits.mean(), hits.sum()], rtol=1e-6)


@pytest.mark.filterwarnings("ignore:`shuffle=True` was passed:UserWarning")  # of Keras' default
@pytest.mark.slow
def test_datasets_and_steps():
    x_train, y_train, x_val, y_val, x_test, y_test = guide.digits(train=300, val=130, test=90)

    def run(cls):
        train_dataset = tf.data.Dataset.from_tensor_slices((x_train, y_train))
        train_dataset = train_dataset.shuffle(buffer_size=1024).batch(64)
        val_dataset = tf.data.Dataset.from_tensor_slices((x_val, y_val))
        val_dataset = val_dataset.batch(64)
        test_dataset = tf.data.Dataset.from_tensor_slices((x_test, y_test))
        test_dataset = test_dataset.batch(64)
        model = guide.compiled_classifier(cls)
        logs = [model.fit(train_dataset, epochs=3, validation_data=val_dataset, verbose=0)]
        results = model.evaluate(test_dataset, verbose=0)
        # `repeat` without a count needs `steps_per_epoch`; `prefetch` changes no number.
        logs.append(
            model.fit(
                train_dataset.repeat().prefetch(1),
                epochs=2,
                steps_per_epoch=3,
                validation_data=val_dataset,
                validation_steps=1,
                verbose=0,
            )
        )
        # Arrays: an epoch of 2 steps goes on where the one before stopped.
        logs.append(
            model.fit(
                x_train,
                y_train,
                batch_size=64,
                epochs=2,
                steps_per_epoch=2,
                validation_data=(x_val, y_val),
                validation_batch_size=32,
                validation_steps=2,
                verbose=0,
            )
        )
        return model, [[log.history for log in logs], results]

    histories, _ = same_as_stock(run)
    assert [len(history["val_loss"]) for history in histories] == [3, 2, 2]


@pytest.mark.filterwarnings("ignore:`shuffle=True` was passed:UserWarning")  # of Keras' default
@pytest.mark.slow
def test_class_weight_and_sample_weight():
    x_train, y_train, x_val, y_val, *_ = guide.digits(train=200, val=50, test=1)
    class_weight = {0: 1.0, 1: 1.0, 2: 1.0, 3: 1.0, 4: 1.0,
                    5: 2.0, 6: 1.0, 7: 1.0, 8: 1.0, 9: 1.0}  # fmt: skip
    sample_weight = np.ones(shape=(len(y_train),))
    sample_weight[y_train[:, 0] == 5] = 2.0

    def run(cls):
        found = []
        train_dataset = tf.data.Dataset.from_tensor_slices((x_train, y_train, sample_weight))
        weighted = {
            "class_weight": lambda model: model.fit(
                x_train, y_train, class_weight=class_weight, shuffle=False, **options
            ),
            "sample_weight": lambda model: model.fit(
                x_train, y_train, sample_weight=sample_weight, shuffle=False, **options
            ),
            "3-tuple": lambda model: model.fit(
                train_dataset.batch(64), validation_data=(x_val, y_val), epochs=2, verbose=0
            ),
        }
        options = {"batch_size": 64, "epochs": 2, "verbose": 0}
        model = guide.compiled_classifier(cls, weighted_metrics=["sparse_categorical_accuracy"])
        start = model.get_weights()
        for fit in weighted.values():
            model.set_weights(start)
            model.optimizer.learning_rate = 0.0
            frozen = fit(model).history["loss"][0]
            model.optimizer.learning_rate = 1e-3
            found.append((frozen, fit(model).history))
        model.set_weights(start)
        return model, [found, model.predict(x_train, verbose=0)]

    found, logits = same_as_stock(run)
    losses = sample_weight * guide.crossentropy(y_train, logits.astype("float64"))
    for frozen, _ in found:  # one value a row, weighted, over the number of rows
        assert frozen == pytest.approx(losses.mean(), rel=1e-6)
    assert found[0][0] == found[1][0] == found[2][0]


@pytest.mark.slow
def test_validation_split_and_early_stopping():
    x_train, y_train, *_ = guide.digits(train=200, val=1, test=1)

    def run(cls):
        callbacks = [
            keras.callbacks.EarlyStopping(
                # Stop training when `val_loss` is no longer improving
                monitor="val_loss",
                # "no longer improving" being defined as "no better than 1e-2 less"
                min_delta=1e-2,
                # "no longer improving" being further defined as "for at least 2 epochs"
                patience=2,
            )
        ]
        model = guide.compiled_classifier(cls)
        before = model.predict(x_train[160:], verbose=0)
        history = model.fit(
            x_train,
            y_train,
            epochs=20,
            batch_size=64,
            callbacks=callbacks,
            validation_split=0.2,
            verbose=0,
        )
        model.optimizer.learning_rate = 0.0
        after = model.evaluate(x_train[160:], y_train[160:], batch_size=64, verbose=0)
        return model, [history.history, after, before]

    history, after, _ = same_as_stock(run)
    assert 3 <= len(history["loss"]) < 20
    assert history["val_loss"][-1] == after  # the last 20 % of the rows


@pytest.mark.slow
def test_custom_losses():
    rng = np.random.default_rng(4)
    x = rng.normal(size=(90, 6)).astype("float32")
    y = rng.integers(0, 2, size=(90, 1)).astype("float32")

    def run(cls):
        inputs = keras.Input((6,))
        model = cls(inputs, layers.Dense(1)(inputs))
        results = [model.predict(x, verbose=0)]
        for loss in (
            basic_loss_function,
            WeightedBinaryCrossEntropy(pos_weight=0.5, weight=2, from_logits=True),
        ):
            model.compile(optimizer=keras.optimizers.Adam(), loss=loss)
            results.append(model.evaluate(x, y, batch_size=30, verbose=0))
            results.append(model.fit(x, y, epochs=2, verbose=0).history)
            results.append(model.predict(x, verbose=0))
        return model, results

    start, absolute, _, trained, weighted, *_ = same_as_stock(run)
    assert absolute == pytest.approx(np.abs(y - start.astype("float64")).mean(), rel=1e-6)
    logits = trained.astype("float64")
    entropy = np.logaddexp(0, logits) - y * logits
    values = 2 * (entropy * (1 - y) + 0.5 * entropy * y)
    assert weighted == pytest.approx(values.mean(), rel=1e-6)


@pytest.mark.slow
def test_a_custom_metric_starts_anew_in_every_epoch():
    x_train, y_train, x_val, y_val, *_ = guide.digits(train=100, val=60, test=1)

    def run(cls):
        model = guide.classifier(cls)
        model.compile(
            optimizer=keras.optimizers.RMSprop(learning_rate=1e-3),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=[CategoricalTruePositives()],
        )
        data = (x_val, y_val)
        history = model.fit(x_train, y_train, epochs=2, validation_data=data, verbose=0)
        return model, [history.history, model.predict(x_val, verbose=0)]

    history, logits = same_as_stock(run)
    hits = np.sum(logits.argmax(axis=1) == y_val[:, 0])
    assert history["val_categorical_true_positives"][-1] == hits


class ActivityStatistics(layers.Layer):
    """A loss and a metric within a layer; the guide writes `self.add_metric(...)`."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.std_of_activation = keras.metrics.Mean(name="std_of_activation")

    def call(self, inputs):
        self.add_loss(tf.reduce_sum(inputs) * 0.1)
        self.std_of_activation.update_state(keras.ops.std(inputs))
        return inputs


def with_activity_statistics(cls):
    inputs = keras.Input(shape=(784,), name="digits")
    x1 = layers.Dense(64, activation="relu", kernel_regularizer="l2")(inputs)
    x1 = ActivityStatistics()(x1)
    outputs = layers.Dense(10, name="predictions")(x1)
    return cls(inputs=inputs, outputs=outputs)


@pytest.mark.slow
def test_losses_and_metrics_within_layers_and_a_loop_that_adds_them():
    x_train, y_train, x_val, y_val, *_ = guide.digits(train=150, val=70, test=1)
    loss_fn = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def fitted(cls):
        model = with_activity_statistics(cls)
        model.compile(
            optimizer=keras.optimizers.SGD(learning_rate=1e-3),
            loss=loss_fn,
            metrics=["sparse_categorical_accuracy"],
        )
        history = model.fit(x_train, y_train, batch_size=64, epochs=3, shuffle=False, verbose=0)
        results = model.evaluate(x_val, y_val, batch_size=64, verbose=0, return_dict=True)
        return model, [history.history, results]

    history, results = same_as_stock(fitted)
    assert {"loss", "regularization", "std_of_activation"} < set(history)

    def loop(cls):
        """The guide's hand-written loop, with `model.losses` in it."""
        model = with_activity_statistics(cls)
        optimizer = keras.optimizers.SGD(learning_rate=1e-3)
        train_acc_metric = keras.metrics.SparseCategoricalAccuracy()
        train_dataset = tf.data.Dataset.from_tensor_slices((x_train.astype("float32"), y_train))
        val_acc_metric = keras.metrics.SparseCategoricalAccuracy()
        val_dataset = tf.data.Dataset.from_tensor_slices((x_val.astype("float32"), y_val))
        val_dataset = val_dataset.batch(64)
        losses = []
        for _epoch in range(3):
            for x_batch_train, y_batch_train in train_dataset.batch(64):
                with tf.GradientTape() as tape:
                    logits = model(x_batch_train, training=True)
                    loss_value = loss_fn(y_batch_train, logits)
                    # Add extra losses created during this forward pass:
                    loss_value += sum(model.losses)
                grads = tape.gradient(loss_value, model.trainable_weights)
                optimizer.apply_gradients(zip(grads, model.trainable_weights, strict=True))
                train_acc_metric(y_batch_train, logits)
                losses.append((float(loss_value), len(y_batch_train)))
            train_acc_metric.reset_state()
        # Run a validation loop at the end.
        for x_batch_val, y_batch_val in val_dataset:
            val_acc_metric(y_batch_val, model(x_batch_val))
        return model, [losses, float(val_acc_metric.result())]

    losses, val_acc = same_as_stock(loop)
    assert val_acc == results["sparse_categorical_accuracy"]
    for epoch in range(3):  # three batches an epoch, of 64, 64 and 22 rows
        values, rows = np.transpose(losses[3 * epoch : 3 * epoch + 3])
        assert history["loss"][epoch] == pytest.approx(np.average(values, weights=rows), rel=1e-6)
    assert_equal(outcome(fitted, LossAwareModel)[1], outcome(loop, LossAwareModel)[1])
