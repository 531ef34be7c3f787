"""Parts of Keras that a subclass overrides."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_trainsteps import LossAwareModel, LossTerm
from tests.toy import (
    ABSOLUTE,
    BATCHES,
    SQUARES,
    SUMS,
    WEIGHTS,
    X,
    Y,
    close,
    evaluate,
    fit,
    hooked,
    network,
    still,
)


class Absolute(LossAwareModel):
    """A loss as Keras 2 writes it, without `training`."""

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
        return ops.mean(sample_weight * ops.abs(y - y_pred)[:, 0])


def test_an_overridden_loss_without_training_gets_the_weights():
    expected = close(np.mean(WEIGHTS * ABSOLUTE))
    model = still(network(Absolute))
    assert fit(model, sample_weight=WEIGHTS)["loss"] == [expected]
    assert evaluate(model, sample_weight=WEIGHTS)["loss"] == expected


def test_an_overridden_loss_is_told_whether_it_trains():
    class Phased(LossAwareModel):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return ops.mean(ops.square(y - y_pred)) * (1.0 if training else 2.0)

    history = fit(still(network(Phased)), validation_data=(X, Y))
    assert history["loss"] == [close(np.mean(SQUARES))]
    assert history["val_loss"] == [close(2 * np.mean(SQUARES))]


def counted(x, y, y_pred):
    return {"doubled": LossTerm(2 * ops.sum(ops.square(y_pred - y)), ops.cast(2, "float32"))}


@pytest.mark.parametrize("run_eagerly", [False, True], ids=["graph", "eager"])
@pytest.mark.parametrize("base", [LossAwareModel, hooked(counted)], ids=["compiled", "hook, too"])
def test_the_terms_that_an_overridden_loss_takes_from_the_library_are_logged(base, run_eagerly):
    class Doubled(base):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return 10.0 + super().compute_loss(x, y, 2 * y_pred, sample_weight, training)

    model = still(network(Doubled), loss=["mse", "mae"], run_eagerly=run_eagerly)
    errors = 2 * SUMS - Y[:, 0].astype("float64")
    parts = {"mse_loss": np.mean(errors**2), "mae_loss": np.mean(np.abs(errors))}
    means = list(parts.values())
    if base is not LossAwareModel:
        parts["doubled"] = np.sum(2 * errors**2) / 6  # three batches
        means.append(np.average([np.sum(errors[b] ** 2) for b in BATCHES], weights=[4, 4, 2]))
    logs = {"loss": 10 + np.sum(means), **parts}
    history = fit(model, validation_data=(X, Y))
    expected = {name: [close(value)] for name, value in logs.items()}
    assert history == expected | {f"val_{name}": value for name, value in expected.items()}


def test_an_overridden_loss_of_two_views_logs_the_mean_of_both():
    class Twice(LossAwareModel):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            rest = (sample_weight, training)
            loss = super().compute_loss(x, y, y_pred, *rest)
            return loss + super().compute_loss(x, y, -y_pred, *rest)

    logs = evaluate(still(network(Twice), loss=["mse", "mae"]))
    target = Y[:, 0].astype("float64")
    both = np.stack([SUMS - target, -SUMS - target])
    assert logs["mse_loss"] == close(np.mean(both**2))
    assert logs["mae_loss"] == close(np.mean(np.abs(both)))
    assert logs["loss"] == close(2 * (np.mean(both**2) + np.mean(np.abs(both))))


class Tracked(LossAwareModel):
    """Logs its loss by a metric of its own, as the page of `compute_loss` in Keras does."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.loss_tracker = keras.metrics.Mean(name="loss")

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        loss = ops.mean(ops.square(y - y_pred))
        self.loss_tracker.update_state(loss)
        return loss


class TrackedAlone(Tracked):
    def reset_metrics(self):
        self.loss_tracker.reset_state()

    @property
    def metrics(self):
        return [self.loss_tracker]


@pytest.mark.parametrize("run_eagerly", [False, True], ids=["graph", "eager"])
@pytest.mark.parametrize("cls", [Tracked, TrackedAlone])
def test_a_metric_that_an_overridden_loss_updates_logs_the_loss_by_rows(cls, run_eagerly):
    model = still(network(cls), run_eagerly=run_eagerly)
    history = fit(model, validation_data=(X, 3 * Y), epochs=2)
    target = 3 * Y[:, 0].astype("float64")
    assert history == {
        "loss": [close(np.mean(SQUARES))] * 2,
        "val_loss": [close(np.mean((SUMS - target) ** 2))] * 2,
    }


def test_a_metric_for_the_loss_that_nothing_updates_is_refused():
    class Forgotten(TrackedAlone):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return ops.mean(ops.square(y - y_pred))

    with pytest.raises(TypeError, match="`compute_loss` must update the metric"):
        fit(still(network(Forgotten)))


@pytest.mark.parametrize("call", [fit, evaluate])
def test_metrics_without_the_compiled_ones_are_refused(call):
    class Listed(LossAwareModel):
        @property
        def metrics(self):
            return [each for each in super().metrics if each.name == "loss"]

    model = still(network(Listed), loss="mse", metrics=["mae"])
    with pytest.raises(ValueError, match=r"`metrics` must hold .* without 'compile_metrics'"):
        call(model)
