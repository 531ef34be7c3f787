"""Steps written by hand: what they may do, and what becomes of their numbers."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from keras_trainsteps import LossAwareModel
from tests.toy import ABSOLUTE, BATCHES, MAE, MSE, SUMS, X, Y, close, dense, fit, network, still


class Absolute(LossAwareModel):
    """Trains on the absolute error, and logs it in a tracker of its own."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.absolute = keras.metrics.Mean(name="absolute")

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            y_pred = ops.cast(self(x, training=True), "float32")
            loss = ops.mean(ops.abs(y - y_pred))
        self.apply(tape.gradient(loss, self.trainable_variables))
        self.absolute.update_state(loss)
        return {"absolute": self.absolute.result()}

    def apply(self, gradients):
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))


def test_a_test_step_by_hand_may_call_that_of_the_library():
    class Both(Absolute):
        def test_step(self, data):
            return {"loss": super().test_step(data)["loss"]}

    history = fit(still(network(Both), loss="mse"), validation_data=(X, Y))
    assert history["absolute"] == [close(MAE)]
    assert history["val_loss"] == [close(MSE)]


def test_a_step_with_an_optimizer_of_its_own_need_not_scale_the_loss():
    class Other(Absolute):
        def apply(self, gradients):
            for weight, gradient in zip(self.trainable_variables, gradients, strict=True):
                weight.assign_sub(0.5 * gradient)

    keras.config.set_dtype_policy("mixed_float16")
    try:
        inputs = keras.Input((3,))
        model = still(Other(inputs, dense()(inputs)))
        x, y = np.ones((4, 3), "float32"), np.zeros((4, 1), "float32")
        history = model.fit(x, y, verbose=0).history
    finally:
        keras.config.set_dtype_policy("float32")
    assert history["absolute"] == [3.0]
    np.testing.assert_array_equal(model.get_weights()[0], np.full((3, 1), 1.0 - 0.5 * 1.0))


def test_a_mean_of_a_layer_keeps_its_own_weighing():
    class Watched(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.size = keras.metrics.Mean(name="size")

        def call(self, inputs):
            self.size.update_state(ops.mean(inputs))
            return inputs

    class Listed(Absolute):
        def train_step(self, data):
            super().train_step(data)
            listed = ("absolute", "size")
            return {each.name: each.result() for each in self.metrics if each.name in listed}

    inputs = keras.Input((3,))
    history = fit(still(Listed(inputs, dense()(Watched()(inputs)))))
    assert history["size"] == [close(np.mean([X[rows].mean() for rows in BATCHES]))]
    assert history["absolute"] == [close(MAE)]


class LossTracker(LossAwareModel):
    """The commonest idiom of all: a tracker named `loss`, made in the constructor."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.loss_tracker = keras.metrics.Mean(name="loss")

    def train_step(self, data):
        x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            loss = ops.mean(ops.abs(y - self(x, training=True)))
        weights = self.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        self.loss_tracker.update_state(loss)
        return self.finish(loss)

    def finish(self, loss):
        return {"loss": self.loss_tracker.result()}

    def test_step(self, data):
        x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
        self.loss_tracker.update_state(ops.mean(ops.abs(y - self(x, training=False))))
        return {"loss": self.loss_tracker.result()}


class Listed(LossTracker):
    @property
    def metrics(self):
        return [self.loss_tracker]


def decorated(base):
    class Decorated(base):
        @tf.function
        def train_step(self, data):
            return super().train_step(data)

    return Decorated


@pytest.mark.parametrize("run_eagerly", [False, True], ids=["graph", "eager"])
@pytest.mark.parametrize("cls", [LossTracker, Listed])
def test_a_tracker_of_ones_own_may_be_called_loss(cls, run_eagerly):
    model = still(network(cls), run_eagerly=run_eagerly)
    history = fit(model, epochs=2, validation_data=(X, Y))
    assert history["loss"] == [close(MAE)] * 2
    assert history["val_loss"] == [close(MAE)] * 2


@pytest.mark.parametrize("base", [LossTracker, Listed, Absolute])
def test_a_step_may_be_a_tf_function(base):
    history = fit(still(network(decorated(base))), epochs=2)
    assert history.popitem()[1] == [close(MAE)] * 2


DERIVED = {
    "root": lambda model, loss: ops.sqrt(model.loss_tracker.result()),
    "sum": lambda model, loss: model.loss_tracker.result() + 1.0,
    "copy": lambda model, loss: tf.identity(model.loss_tracker.result()),
    "constant": lambda model, loss: 10.0,
    "rate": lambda model, loss: tf.convert_to_tensor(model.optimizer.learning_rate),
}
VALUES = {"root": np.sqrt(MAE), "sum": MAE + 1, "copy": MAE, "constant": 10.0, "rate": 0.0}


@pytest.mark.parametrize("run_eagerly", [False, True], ids=["graph", "eager"])
@pytest.mark.parametrize("kind", DERIVED)
def test_values_derived_from_results_and_constants_are_logged(kind, run_eagerly):
    def finish(self, loss):
        return {"loss": self.loss_tracker.result(), kind: DERIVED[kind](self, loss)}

    cls = type("Derived", (LossTracker,), {"finish": finish})
    history = fit(still(network(cls), run_eagerly=run_eagerly))
    assert history["loss"] == [close(MAE)]
    assert history[kind] == [close(VALUES[kind])]


def test_a_constant_may_be_added_to_the_logs_of_the_library():
    class Longer(LossAwareModel):
        def train_step(self, data):
            return {**super().train_step(data), "ten": 10.0}

    assert fit(still(network(Longer), loss="mse")) == {"loss": [close(MSE)], "ten": [10.0]}


@pytest.mark.parametrize(
    "value",
    [lambda model, loss: loss, lambda model, loss: model.loss_tracker.result() + loss],
    ids=["raw", "raw and kept"],
)
def test_a_value_of_one_batch_is_refused_among_results_of_metrics(value):
    def finish(self, loss):
        return {"loss": self.loss_tracker.result(), "mine": value(self, loss)}

    cls = type("Raw", (LossTracker,), {"finish": finish})
    with pytest.raises(TypeError, match="'mine' a value of one batch"):
        fit(still(network(cls)))


def test_the_third_entry_of_a_batch_is_a_weight_only_where_it_is_used_as_one():
    class Triplets(LossTracker):
        def train_step(self, data):
            anchor, positive, negative = data
            with tf.GradientTape() as tape:
                near = ops.square(self(anchor) - self(positive))
                far = ops.square(self(anchor) - self(negative))
                loss = ops.mean(near - far)
            weights = self.trainable_variables
            self.optimizer.apply_gradients(
                zip(tape.gradient(loss, weights), weights, strict=True)
            )
            self.loss_tracker.update_state(loss)
            return {"loss": self.loss_tracker.result()}

    rows = (X, X + 1, -X)
    history = still(network(Triplets)).fit(
        tf.data.Dataset.from_tensor_slices(rows).batch(4), verbose=0
    )
    scores = [part.astype("float64").sum(axis=1) for part in rows]
    expected = np.mean((scores[0] - scores[1]) ** 2 - (scores[0] - scores[2]) ** 2)
    assert history.history["loss"] == [close(expected)]


@pytest.mark.parametrize("weight", [np.nan, np.inf])
def test_weights_of_a_loss_that_are_no_numbers_are_refused_in_a_step_by_hand(weight):
    class Weighted(LossTracker):
        def train_step(self, data):
            x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
            loss = self.compute_loss(x, y, self(x, training=True), sample_weight)
            self.loss_tracker.update_state(loss)
            return {"loss": self.loss_tracker.result()}

    model = still(network(Weighted), loss="mse")
    with pytest.raises(ValueError, match="`sample_weight` must be finite numbers"):
        fit(model, sample_weight=np.full(10, weight, "float32"))


def test_a_loss_scale_factor_needs_a_scaled_loss_in_a_step_by_hand():
    class ByHand(LossTracker):
        scales = False

        def train_step(self, data):
            x, y = data
            with tf.GradientTape() as tape:
                loss = self.compute_loss(x, y, self(x, training=True))
                trained_on = self.optimizer.scale_loss(loss) if self.scales else loss
            weights = self.trainable_weights
            self.optimizer.apply_gradients(
                zip(tape.gradient(trained_on, weights), weights, strict=True)
            )
            self.loss_tracker.update_state(loss)
            return {"loss": self.loss_tracker.result()}

    def trained(cls):
        model = network(cls)
        model.compile(keras.optimizers.SGD(0.1, loss_scale_factor=8.0), loss="mse")
        model.fit(X, Y, batch_size=10, verbose=0)
        return model.trainable_weights[0].numpy()[:, 0]

    with pytest.raises(ValueError, match=r"by `loss_scale_factor`.*no call of `scale_loss`"):
        trained(ByHand)
    slope = np.mean(2 * (SUMS[:, None] - Y) * X.astype("float64"), axis=0)
    assert trained(type("Scaled", (ByHand,), {"scales": True})) == close(1 - 0.1 * slope)


@pytest.mark.parametrize("when", ["before compile", "after compile"])
def test_a_tracker_called_loss_is_refused_where_the_library_logs_the_loss(when):
    model = network(LossAwareModel)
    if when == "before compile":
        model.tracker = keras.metrics.Mean(name="loss")
    still(model, loss="mse")
    model.tracker = keras.metrics.Mean(name="loss")
    with pytest.raises(ValueError, match="a metric named 'loss'"):
        fit(model)


@pytest.mark.parametrize("run_eagerly", [False, True], ids=["graph", "eager"])
@pytest.mark.parametrize("where", ["compute_losses", "compute_loss", "call", "around the step"])
def test_a_number_given_to_a_mean_weighs_as_the_rows_of_its_batch(where, run_eagerly):
    class Tracked(LossAwareModel):
        def __init__(self):
            super().__init__()
            self.dense = dense()
            self.largest = keras.metrics.Mean(name="largest")

        def call(self, inputs, training=None):
            scores = self.dense(inputs)
            if where == "call":
                self.largest.update_state(ops.max(scores))
            return scores

        def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
            if where == "compute_losses":
                self.largest.update_state(ops.max(y_pred))
            return {"squares": ops.square(y - y_pred)}

        def train_step(self, data):
            logs = super().train_step(data)
            if where == "around the step":
                self.largest.update_state(ops.max(self(data[0])))
                logs["largest"] = self.largest.result()
            return logs

    if where == "compute_loss":

        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            self.largest.update_state(ops.max(y_pred))
            return ops.mean(ops.square(y - y_pred))

        Tracked.compute_loss = compute_loss
    history = fit(still(Tracked(), run_eagerly=run_eagerly))
    scores = X.astype("float64").sum(axis=1)
    expected = sum(len(scores[b]) * scores[b].max() for b in BATCHES) / len(scores)
    assert history["largest"] == [close(expected)]


def test_a_tracker_of_the_other_kind_of_step_is_left_out_of_the_logs():
    class Both(LossAwareModel):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.largest = keras.metrics.Mean(name="largest")

        def train_step(self, data):
            super().train_step(data)
            self.largest.update_state(ops.max(self(data[0])))
            return {metric.name: metric.result() for metric in self.metrics}

        def test_step(self, data):
            super().test_step(data)
            return {metric.name: metric.result() for metric in self.metrics}

    history = fit(still(network(Both), loss="mse"), validation_data=(X, Y))
    assert sorted(history) == ["largest", "loss", "val_loss"]
    assert history["val_loss"] == [close(MSE)]


@pytest.mark.parametrize("run_eagerly", [False, True], ids=["graph", "eager"])
def test_a_metric_that_the_last_batch_leaves_as_it_was_stays_in_the_logs(run_eagerly):
    class Counted(LossTracker):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.large = keras.metrics.Sum(name="large")

        def finish(self, loss):
            self.large.update_state(ops.cast(loss < threshold, "float32"))
            return {"loss": self.loss_tracker.result(), "large": self.large.result()}

    by_batch = [np.mean(ABSOLUTE[batch]) for batch in BATCHES]
    threshold = by_batch[-1] - 1e-3  # so that the last batch counts nothing
    history = fit(still(network(Counted), run_eagerly=run_eagerly))
    assert history["large"] == [float(sum(value < threshold for value in by_batch))]


def test_a_step_by_hand_takes_ragged_batches():
    class Ragged(LossTracker):
        def train_step(self, data):
            x, y = data
            loss = ops.mean(ops.abs(y - self(x.to_tensor(), training=True)))
            self.loss_tracker.update_state(loss)
            return {"loss": self.loss_tracker.result()}

    rows = tf.ragged.constant([[1.0, 2.0, 3.0], [1.0, 1.0, 1.0]])
    data = tf.data.Dataset.from_tensors((rows, tf.zeros((2, 1))))
    history = still(network(Ragged)).fit(data, verbose=0).history
    assert history["loss"] == [close((6 + 3) / 2)]


def test_adding_a_loss_does_not_make_another_loss_of_validation_right():
    class Own(LossTracker):
        test_step = LossAwareModel.test_step

    model = still(network(Own), loss="mse")
    fit(model)
    model.add_loss(1.0, name="one")
    with pytest.raises(ValueError, match="`test_step` must be overridden"):
        model.evaluate(X, Y, verbose=0)
