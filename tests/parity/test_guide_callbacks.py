"""The guide's callbacks: they see stock numbers, and every named term besides."""

import csv

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.util import event_pb2

from keras_trainsteps import LossAwareModel

from . import guide
from .guide import same_as_stock

EPOCHS = 5


class LossHistory(keras.callbacks.Callback):
    """The guide's callback."""

    def on_train_begin(self, logs):
        self.losses = []

    def on_batch_end(self, batch, logs):
        self.losses.append(logs.get("loss"))


def curves(folder):
    """Every curve of the event files in `folder`: its points by step."""
    found = {}
    for file in sorted(folder.glob("*tfevents*")):
        for record in tf.data.TFRecordDataset(str(file)):
            event = event_pb2.Event.FromString(record.numpy())
            for value in event.summary.value:
                if value.HasField("tensor") and value.metadata.plugin_data.plugin_name in (
                    "scalars",
                    "",
                ):
                    point = float(tf.make_ndarray(value.tensor))
                    found.setdefault(value.tag, {})[event.step] = point
    return found


def rows_of(file):
    with file.open() as lines:
        return list(csv.DictReader(lines))


@pytest.mark.slow
def test_every_callback_sees_the_stock_numbers(tmp_path):
    x_train, y_train, x_val, y_val, *_ = guide.digits(train=150, val=60, test=1)

    def run(cls):
        folder = tmp_path / cls.__name__
        losses = LossHistory()
        callbacks = [
            keras.callbacks.EarlyStopping("val_loss", patience=3, restore_best_weights=True),
            keras.callbacks.ReduceLROnPlateau("val_loss", factor=0.5, patience=1, min_delta=1.0),
            keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.9),
            keras.callbacks.ModelCheckpoint(
                folder / "{epoch}.weights.h5", "val_loss", save_weights_only=True
            ),
            keras.callbacks.TensorBoard(folder / "logs"),
            keras.callbacks.CSVLogger(folder / "log.csv"),
            losses,
        ]
        model = guide.compiled_classifier(cls, metrics=["sparse_categorical_accuracy"])
        history = model.fit(
            x_train,
            y_train,
            batch_size=64,
            epochs=EPOCHS,
            validation_data=(x_val, y_val),
            callbacks=callbacks,
            verbose=0,
        ).history
        saved = guide.classifier(cls)
        saved.load_weights(folder / "1.weights.h5")
        written = {kind: curves(folder / "logs" / kind) for kind in ("train", "validation")}
        results = [
            history,
            losses.losses,
            rows_of(folder / "log.csv"),
            saved.get_weights(),
            written,
        ]
        return model, results

    history, losses, rows, _, written = same_as_stock(run)
    assert len(losses) == 3 * len(history["loss"])  # 64 + 64 + 22 rows an epoch
    assert losses[2] == history["loss"][0]
    assert [float(row["val_loss"]) for row in rows] == history["val_loss"]
    assert len(set(history["learning_rate"])) == len(history["learning_rate"])
    assert list(written["train"]["epoch_loss"].values()) == pytest.approx(history["loss"])


class Named(LossAwareModel):
    def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
        error = y - y_pred
        return {"squared": keras.ops.square(error), "absolute": keras.ops.abs(error)}


@pytest.mark.slow
def test_every_named_term_is_a_curve(tmp_path):
    x, y = np.random.default_rng(0).normal(size=(2, 20, 1))
    inputs = keras.Input((1,))
    outputs = keras.layers.Dense(1, kernel_regularizer="l2")(inputs)
    model = Named(inputs, outputs)
    model.compile("sgd", loss=["mse", "mae"])
    callbacks = [
        keras.callbacks.TensorBoard(tmp_path / "logs"),
        keras.callbacks.CSVLogger(tmp_path / "log.csv"),
    ]
    history = model.fit(
        x, y, epochs=2, validation_data=(x[:8], y[:8]), callbacks=callbacks, verbose=0
    ).history
    terms = {"loss", "squared", "absolute", "regularization", "mse_loss", "mae_loss"}
    assert terms | {f"val_{term}" for term in terms} <= set(history)
    for folder, prefix in (("train", ""), ("validation", "val_")):
        written = curves(tmp_path / "logs" / folder)
        for term in terms:
            points = [written[f"epoch_{term}"][epoch] for epoch in range(2)]
            assert points == pytest.approx(history[prefix + term], rel=1e-6)
    assert {*terms} <= set(rows_of(tmp_path / "log.csv")[0])


def test_learning_rate_schedules():
    x_train, y_train, *_ = guide.digits(train=150, val=1, test=1)

    def run(cls):
        rate = keras.optimizers.schedules.ExponentialDecay(0.1, decay_steps=2, decay_rate=0.5)
        model = guide.classifier(cls)
        model.compile(
            optimizer=keras.optimizers.SGD(rate),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        history = model.fit(x_train, y_train, batch_size=64, epochs=2, verbose=0).history
        return model, [history, float(model.optimizer.learning_rate)]

    _, rate = same_as_stock(run)
    assert rate == pytest.approx(0.1 * 0.5 ** (6 / 2))
