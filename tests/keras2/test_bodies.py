"""Bodies written for Keras 2: the right numbers, or an error with the replacement.

Keras 3.15 logs 0, the last batch, or a mean of `y_pred` for most of these.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_trainsteps import LossAwareModel, LossTerm
from tests.keras2.steps import (
    ERROR,
    MAE,
    MSE,
    WEIGHT,
    WEIGHTED,
    Keras2,
    Own,
    X,
    Y,
    apply,
    fit,
    get_updates,
    loop_over_metrics,
    minimize,
    raw_loss,
    scaled,
)
from tests.models import linear

REPLACEMENT = "def compute_losses"


class Weighted(LossAwareModel):
    """With sample weights, in both steps."""

    def train_step(self, data):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = self.compiled_loss(y, y_pred, sample_weight, self.losses)
        apply(self, tape, loss)
        self.compiled_metrics.update_state(y, y_pred, sample_weight)
        return {m.name: m.result() for m in self.metrics}

    def test_step(self, data):
        x, y = data
        y_pred = self(x, training=False)
        self.compiled_loss(y, y_pred, regularization_losses=self.losses)
        self.compiled_metrics.update_state(y, y_pred)
        return {m.name: m.result() for m in self.metrics}


class Keras3Guide(LossAwareModel):
    """The body of today's guide, which logs a mean over batches in Keras."""

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = self.compute_loss(y=y, y_pred=y_pred)
        apply(self, tape, loss)
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss)
            else:
                metric.update_state(y, y_pred)
        return {m.name: m.result() for m in self.metrics}


@pytest.mark.parametrize("cls", [Keras2, Weighted, Keras3Guide])
def test_a_body_of_keras_2_logs_and_learns_as_stock_fit(cls):
    _, stock = fit(keras.Model, rate=0.1, epochs=2, validation=True)
    model, history = fit(cls, rate=0.1, epochs=2, validation=True)
    assert history == stock
    stock_model, _ = fit(keras.Model, rate=0.1, epochs=2)
    for one, other in zip(stock_model.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_logs_are_the_formulas():
    _, history = fit(Keras2, epochs=2, validation=True)
    for name, value in (("loss", MSE), ("val_loss", MSE), ("mae", MAE), ("val_mae", MAE)):
        assert history[name] == pytest.approx([value] * 2, rel=1e-6)
    _, history = fit(Weighted, sample_weight=WEIGHT, weighted_metrics=["mse"], run_eagerly=True)
    assert history["loss"][0] == pytest.approx(WEIGHTED, rel=1e-6)
    assert history["mae"][0] == pytest.approx(MAE, rel=1e-6)
    assert history["mse"][0] == pytest.approx(WEIGHTED * 10 / WEIGHT.sum(), rel=1e-6)


@pytest.fixture(scope="module")
def of_each_kind():
    """One compiled model of each kind, to be trained on batches of any size."""
    models = [linear(cls) for cls in (Weighted, Tracked, LossAwareModel)]
    for model in models:
        model.compile(keras.optimizers.SGD(0.0), loss="mse", metrics=["mae"])
    return models


@pytest.mark.slow
@settings(max_examples=12)
@given(
    values=st.lists(st.floats(-9, 9, width=16), min_size=1, max_size=12),
    batch_size=st.integers(1, 7),
    data=st.data(),
)
def test_logs_are_the_formulas_for_any_batches(of_each_kind, values, batch_size, data):
    rows = len(values)
    weights = st.lists(st.floats(0, 4, width=16), min_size=rows, max_size=rows)
    sample_weight = np.array(data.draw(weights), "float32")
    y = np.array(values, "float32").reshape(-1, 1)
    x = np.full((rows, 3), 1.5, "float32")
    error = 4.5 - y[:, 0].astype("float64")
    keras_2, tracked, own = (
        model.fit(
            x,
            y,
            sample_weight=sample_weight,
            batch_size=batch_size,
            shuffle=False,
            verbose=0,
        ).history
        for model in of_each_kind
    )
    assert keras_2["loss"] == pytest.approx([np.mean(sample_weight * error**2)], rel=1e-5)
    assert keras_2["mae"] == pytest.approx([np.mean(np.abs(error))], rel=1e-5)
    assert keras_2 == own
    assert tracked["loss"] == pytest.approx([np.mean(np.abs(error))], rel=1e-5)


def test_regularization_is_in_the_loss_and_a_curve():
    _, history = fit(Keras2, dense={"kernel_regularizer": keras.regularizers.L2(1.0)})
    assert history["regularization"] == [3.0]
    assert history["loss"][0] == pytest.approx(MSE + 3.0, rel=1e-6)


def test_train_on_batch_has_two_parts():
    model = linear(Keras2)
    model.compile(keras.optimizers.SGD(0.0), loss="mse", metrics=["mae"])
    assert model.train_on_batch(X, Y) == pytest.approx([MSE, MAE], rel=1e-6)


@pytest.mark.filterwarnings("ignore:Your input ran out of data:UserWarning")
def test_data_of_unknown_length_trains_no_phantom_step():
    model = linear(Keras2)
    model.compile(keras.optimizers.SGD(0.0), loss="mse", metrics=["mae"])
    data = tf.data.Dataset.from_tensor_slices((X, Y)).filter(lambda x, y: True)
    history = model.fit(data.batch(2, drop_remainder=True), verbose=0).history
    assert history["loss"] == pytest.approx([MSE], rel=1e-6)
    assert int(model.optimizer.iterations) == 5


def test_several_losses_and_counts_of_their_own():
    """A loss that is averaged by its weights is the ratio of two sums over the epoch."""
    _, history = fit(Keras2, loss=["mse", "mae"])
    assert history["loss"][0] == pytest.approx(MSE + MAE, rel=1e-6)
    assert history["mse_loss"][0] == pytest.approx(MSE, rel=1e-6)
    loss = keras.losses.MeanSquaredError(reduction="mean_with_sample_weight")
    _, history = fit(Weighted, loss=loss, sample_weight=WEIGHT)
    assert set(history) == {"loss", "mae"}
    assert history["loss"][0] == pytest.approx(WEIGHTED * 10 / WEIGHT.sum(), rel=1e-6)


def test_a_loop_outside_of_fit():
    model = linear()
    model.compile(loss="mse")
    loss = model.compiled_loss(Y, model(X), regularization_losses=model.losses)
    assert float(loss) == pytest.approx(MSE, rel=1e-6)
    model.compiled_metrics.update_state(Y, model(X))
    assert model.compiled_metrics.metrics == []
    model.reset_metrics()
    assert model.get_metrics_result() == {"loss": 0.0}


# Steps of their own


def test_metrics_outside_of_the_model_are_logged():
    """And `metrics` is overridden with them."""
    loss_tracker = keras.metrics.Mean(name="loss")
    mae_metric = keras.metrics.MeanAbsoluteError(name="mae")

    class Outside(LossAwareModel):
        def train_step(self, data):
            x, y = data
            with tf.GradientTape() as tape:
                y_pred = self(x, training=True)
                loss = tf.reduce_mean((y - y_pred) ** 2, axis=-1)
            apply(self, tape, loss)
            loss_tracker.update_state(loss)
            mae_metric.update_state(y, y_pred)
            return {"loss": loss_tracker.result(), "mae": mae_metric.result()}

        @property
        def metrics(self):
            return [loss_tracker, mae_metric]

    _, history = fit(Outside, None, metrics=None, epochs=2)
    assert history["loss"] == pytest.approx([MSE] * 2, rel=1e-6)
    assert history["mae"] == pytest.approx([MAE] * 2, rel=1e-6)


def test_results_of_own_metrics_and_variables_are_logged():
    class Values(Own):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.absolute = keras.metrics.Mean(name="absolute")

        def finish(self, y, y_pred, loss):
            self.absolute.update_state(tf.abs(y - y_pred))
            return {"own": self.absolute.result(), "rate": self.optimizer.learning_rate}

    _, history = fit(Values, None, metrics=None, epochs=2)
    assert history["own"] == pytest.approx([MAE] * 2, rel=1e-6)
    assert history["rate"] == [0.0, 0.0]


class Tracked(Own):
    """A tracker of its own, as in Keras's autoencoder and adversarial examples."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.total = keras.metrics.Mean(name="total_loss")

    @property
    def metrics(self):
        return [self.total]

    def finish(self, y, y_pred, loss):
        self.total.update_state(loss)
        return {"loss": self.total.result()}


@pytest.mark.parametrize("run_eagerly", [False, True], ids=["graph", "eager"])
def test_a_mean_of_batches_is_weighed_by_their_rows(run_eagerly):
    _, history = fit(Tracked, None, metrics=None, epochs=2, run_eagerly=run_eagerly)
    assert history == {"loss": pytest.approx([MAE] * 2, rel=1e-6)}
    model = linear(Tracked)
    model.compile("sgd")
    model.fit(X, Y, batch_size=4, verbose=0)
    model.total.reset_state()
    for value in (1.0, 2.0):
        model.total.update_state(value)
    assert float(model.total.result()) == (1.0 + 2.0) / 2  # outside of a step as ever


def test_a_step_may_add_to_that_of_the_library():
    class Longer(LossAwareModel):
        def train_step(self, data):
            logs = super().train_step(data)
            return {**logs, "rate": self.optimizer.learning_rate}

        def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
            error = tf.reduce_sum(tf.abs(y - y_pred))
            return {"counted": LossTerm(error, tf.constant(2.0))}

        def get_metrics_result(self):
            return {**super().get_metrics_result(), "bias": tf.reduce_sum(self.weights[1])}

    _, history = fit(Longer, None, metrics=["mse"], validation=True)
    assert history["loss"][0] == pytest.approx(np.abs(ERROR).sum() / 6, rel=1e-6)
    assert history["val_counted"] == history["counted"]
    assert history["bias"] == [0.0]


def test_an_overridden_loss_is_that_of_validation():
    class Overridden(Keras3Guide):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return tf.reduce_mean(tf.abs(y - y_pred))

    _, history = fit(Overridden, validation=True)
    assert history["loss"] == pytest.approx([MAE], rel=1e-6)
    assert history["val_loss"] == pytest.approx([MAE], rel=1e-6)


def test_a_step_written_by_hand_may_read_side_inputs_and_data_of_four_parts():
    class FourParts(LossAwareModel):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.absolute = keras.metrics.Mean(name="absolute")

        def train_step(self, data):
            x, y, cost, _ = data
            with tf.GradientTape() as tape:
                values = cost * tf.abs(y - self(x, training=True))
                loss = tf.reduce_mean(values)
            apply(self, tape, loss)
            self.absolute.update_state(values)
            return {"absolute": self.absolute.result()}

    model = linear(FourParts)
    model.compile(keras.optimizers.SGD(0.0))
    cost = WEIGHT[:, None]
    data = tf.data.Dataset.from_tensor_slices((X, Y, cost, cost)).batch(4)
    history = model.fit(data, verbose=0).history
    expected = np.mean(WEIGHT * np.abs(ERROR))
    assert history["absolute"] == pytest.approx([expected], rel=1e-6)


def raw_other(self, y, y_pred, loss):
    return {"my_loss": loss}


def raw_scalar(self, y, y_pred, loss):
    return loss


def metrics_only(self, y, y_pred, loss):
    self.compiled_metrics.update_state(y, y_pred)
    return {m.name: m.result() for m in self.metrics}


REFUSED = {
    "a raw loss": (raw_loss, TypeError, "'loss' a value of one batch"),
    "a raw loss under another name": (raw_other, TypeError, "'my_loss' a value of one batch"),
    "no dict": (raw_scalar, TypeError, "must return a dict"),
    "a tracker that is not updated": (metrics_only, TypeError, "'loss', not updated"),
    "the loop of Keras's warning": (loop_over_metrics, TypeError, "takes the loss of a"),
    "minimize": (minimize, AttributeError, "tape.gradient"),
    "get_updates": (get_updates, AttributeError, "tape.gradient"),
    "get_scaled_loss": (scaled, AttributeError, "`optimizer.scale_loss"),
}


@pytest.mark.parametrize("run_eagerly", [False, True], ids=["graph", "eager"])
@pytest.mark.parametrize(("finish", "error", "match"), REFUSED.values(), ids=REFUSED)
def test_a_step_whose_log_would_be_wrong_is_refused(finish, error, match, run_eagerly):
    cls = type("Wrong", (Own,), {"finish": finish})
    with pytest.raises(error, match=match) as refused:
        fit(cls, run_eagerly=run_eagerly)
    assert REPLACEMENT in str(refused.value) or "compute_metrics" in str(refused.value)


def test_another_loss_in_validation_is_refused():
    """The step trains on one loss, and the default `test_step` logs another."""

    def finish(self, y, y_pred, loss):
        self.metrics[0].update_state(loss)
        self.compiled_metrics.update_state(y, y_pred)
        return {m.name: m.result() for m in self.metrics}

    cls = type("Absolute", (Own,), {"finish": finish})
    assert fit(cls)[1]["loss"][0] == pytest.approx(MAE, rel=1e-6)  # not a mean of batches
    with pytest.raises(ValueError, match="`test_step` must be overridden"):
        fit(cls, validation=True)


@pytest.mark.parametrize("missing", ["loss", "compile_metrics"])
@pytest.mark.parametrize("step", ["train_step", "test_step"])
def test_metrics_without_those_of_the_model_are_refused(step, missing):
    tracker = keras.metrics.Mean(name="own")

    def listed(self):
        kept = [each for each in super(cls, self).metrics if each.name != missing]
        return [tracker, *kept]

    cls = type("Listed", (LossAwareModel,), {"metrics": property(listed)})
    model = linear(cls)
    model.compile("sgd", loss="mse", metrics=["mae"])
    match = rf"without '{missing}'. Return `\[\*super\(\).metrics"
    with pytest.raises(ValueError, match=match):
        model.fit(X, Y, verbose=0) if step == "train_step" else model.evaluate(X, Y, verbose=0)


def test_weights_that_are_not_unpacked():
    with pytest.raises(ValueError, match=r"keras.utils.unpack_x_y_sample_weight") as refused:
        fit(Keras2, sample_weight=WEIGHT)
    assert REPLACEMENT in str(refused.value)


def test_added_losses_are_not_forgotten():
    class Forgetful(Keras2):
        def train_step(self, data):
            return {"loss": self.compiled_loss(data[1], self(data[0]))}

    with pytest.raises(ValueError, match=r"`regularization_losses=self.losses`"):
        fit(Forgetful, dense={"kernel_regularizer": "l2"})


def test_the_hook_is_not_forgotten():
    class Filled(Keras2):
        def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
            return {"absolute": tf.abs(y - y_pred)}

    with pytest.raises(ValueError, match="which would be left out"):
        fit(Filled)


def test_counts_of_their_own_are_not_averaged_by_rows():
    loss = keras.losses.MeanSquaredError(reduction="mean_with_sample_weight")
    with pytest.raises(TypeError, match="cannot be averaged over an epoch by rows"):
        fit(Keras3Guide, loss=loss)


def test_the_tracker_of_a_term_is_left_to_the_model():
    model, _ = fit(LossAwareModel, loss=["mse", "mae"])
    with pytest.raises(TypeError, match="the loss term 'mse_loss' must be left to the model"):
        model.metrics[1].update_state(Y, Y)


def test_a_loss_that_is_not_scaled_is_refused_and_a_scaled_one_learns():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        with pytest.raises(ValueError, match=r"self.optimizer.scale_loss\(loss\)"):
            fit(Keras2, rate=0.1)

        class Scaled(Keras2):
            def train_step(self, data):
                x, y = data
                with tf.GradientTape() as tape:
                    y_pred = self(x, training=True)
                    loss = self.compiled_loss(y, y_pred, regularization_losses=self.losses)
                    loss = self.optimizer.scale_loss(loss)
                apply(self, tape, loss)
                self.compiled_metrics.update_state(y, y_pred)
                return {m.name: m.result() for m in self.metrics}

        found = [fit(cls, rate=0.1, epochs=3) for cls in (keras.Model, Scaled)]
    finally:
        keras.config.set_dtype_policy("float32")
    assert found[0][1] == found[1][1]
    assert found[1][1]["loss"][-1] < found[1][1]["loss"][0] / 2


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("metrics_tensors", "`model.add_metric"),
        ("total_loss", "`model.compute_loss"),
        ("fit_generator", r"`model.fit\(generator\)`"),
    ],
)
def test_names_of_keras_2_say_what_replaces_them(name, match):
    model = linear()
    with pytest.raises(AttributeError, match=match):
        getattr(model, name)
    assert not hasattr(model, name)
    setattr(model, name, 1)  # a subclass may use the name
    assert getattr(model, name) == 1
