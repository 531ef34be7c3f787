"""`compiled_loss` and `compiled_metrics` in bodies written for Keras 2: what they refuse."""

import numpy as np
import pytest
import tensorflow as tf

from keras_trainsteps import LossAwareModel, losses
from keras_trainsteps.penalties import UncertaintyWeighting
from tests.toy import ROWS, X, Y, close, evaluate, fit, network, still


class Keras2(LossAwareModel):
    """The body of Keras's guide up to version 2.11."""

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = self.compiled_loss(y, y_pred, regularization_losses=self.losses)
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        return {each.name: each.result() for each in self.metrics}


def test_a_compiled_loss_reads_the_side_inputs_of_its_step():
    ids = np.repeat(np.arange(ROWS // 2), 2)
    x = {"features": X, "query_id": ids}
    model = still(network(Keras2), loss=losses.ListMLE("query_id"))
    expected = evaluate(model, x, batch_size=ROWS)["loss"]
    assert fit(model, x, batch_size=ROWS)["loss"] == [close(expected)]


def test_a_compiled_loss_of_terms_with_trained_weights_is_refused():
    model = network(Keras2)
    model.add_loss(UncertaintyWeighting(["mse_loss", "mae_loss"]), name="weighting")
    still(model, loss=["mse", "mae"])
    match = r"has no trained weights. Received: .*\['mse_loss', 'mae_loss'\]"
    with pytest.raises(ValueError, match=match):
        fit(model)


def unlisted(name):
    """A model whose `metrics` leave one of the model's own out."""

    class Listed(LossAwareModel):
        @property
        def metrics(self):
            return [each for each in super().metrics if each.name != name]

    return still(network(Listed), loss="mse", metrics=["mae"])


def test_compiled_metrics_that_are_not_listed_are_refused():
    model = unlisted("compile_metrics")
    with pytest.raises(ValueError, match=r"`metrics` must hold .* without 'compile_metrics'"):
        model.compiled_metrics.update_state(Y, model(X))


def test_a_compiled_loss_whose_tracker_is_not_listed_is_refused():
    model = unlisted("loss")
    with pytest.raises(ValueError, match=r"`metrics` must hold .* without 'loss'"):
        model.compiled_loss(Y, model(X))


def test_compiled_metrics_refuse_several_targets_of_one_output():
    model = still(network(), loss="mse", metrics=["mae"])
    with pytest.raises(ValueError, match=r"one target .* entries \['group', 'label'\]"):
        model.compiled_metrics.update_state({"label": Y, "group": 0 * Y}, model(X))
