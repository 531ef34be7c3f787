"""Parts of Keras that a subclass overrides."""

import numpy as np
import pytest
from keras import ops

from keras_trainsteps import LossAwareModel
from tests.toy import (
    ABSOLUTE,
    SQUARES,
    WEIGHTS,
    X,
    Y,
    close,
    evaluate,
    fit,
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


@pytest.mark.parametrize("call", [fit, evaluate])
def test_metrics_without_the_compiled_ones_are_refused(call):
    class Listed(LossAwareModel):
        @property
        def metrics(self):
            return [each for each in super().metrics if each.name == "loss"]

    model = still(network(Listed), loss="mse", metrics=["mae"])
    with pytest.raises(ValueError, match=r"`metrics` must hold .* without 'compile_metrics'"):
        call(model)
