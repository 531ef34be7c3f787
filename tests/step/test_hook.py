"""The hook: names that are taken, and whether it trains."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_trainsteps import LossAwareModel
from tests.models import linear
from tests.toy import MSE, X, Y, close, dense, evaluate, fit, hooked, network, still


@pytest.mark.parametrize("kind", ["loss", "metric"])
def test_a_term_of_the_hook_with_the_name_of_what_was_added_is_refused(kind):
    model = network(hooked(lambda x, y, y_pred: {"extra": ops.square(y_pred)}))
    add = {"loss": model.add_loss, "metric": model.add_metric}[kind]
    add(lambda: ops.sum(model.trainable_weights[0]), name="extra")
    still(model)
    with pytest.raises(ValueError, match=r"needs a name of its own.*Received: 'extra'"):
        fit(model)
    assert int(model.optimizer.iterations) == 0


def test_compute_loss_tells_the_hook_whether_it_trains():
    class Phased(LossAwareModel):
        def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
            return {"phase": ops.convert_to_tensor(1.0 if training else 2.0)}

    model = still(network(Phased))
    y_pred = model(X)
    assert float(model.compute_loss(X, Y, y_pred)) == 1.0
    assert float(model.compute_loss(X, Y, y_pred, None, training=False)) == 2.0


def test_a_hook_may_name_only_what_it_takes():
    class Short(LossAwareModel):
        def compute_losses(self, y_pred, y):
            return {"squares": ops.square(y - y_pred)}

    model = still(network(Short))
    assert fit(model)["squares"] == [close(MSE)]
    assert evaluate(model)["loss"] == close(MSE)
    assert float(model.compute_loss(X, Y, model(X))) == close(MSE)


def test_an_output_may_be_none():
    class Optional(LossAwareModel):
        def __init__(self):
            super().__init__()
            self.dense = dense()

        def call(self, inputs):
            return {"score": self.dense(inputs), "spare": None}

        def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
            assert y_pred["spare"] is None
            return {"squares": keras.ops.square(y - y_pred["score"])}

    assert fit(still(Optional()))["loss"] == [close(MSE)]


class Balanced(keras.layers.Layer):
    """Passes on the mean of its inputs as a loss, as a layer of experts would."""

    def call(self, inputs):
        self.add_loss(ops.mean(inputs))
        return ops.sum(inputs, axis=-1, keepdims=True)


@pytest.mark.parametrize("run_eagerly", [False, True], ids=["graph", "eager"])
@pytest.mark.parametrize("of", ["the model", "a layer"])
def test_what_layers_add_while_the_hook_runs_is_part_of_the_loss(of, run_eagerly):
    class Twice(LossAwareModel):
        def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
            called = self if of == "the model" else self.layers[-1]
            return {"squares": ops.square(called(x + 1.0) - y_pred)}

    inputs = keras.Input((3,))
    model = still(Twice(inputs, Balanced()(inputs)), run_eagerly=run_eagerly)
    logs = evaluate(model)
    means = X.astype("float64").mean() + (X.astype("float64") + 1).mean()
    assert logs["squares"] == close(9.0)  # three features are larger by 1
    assert logs["regularization"] == close(means)
    assert logs["loss"] == close(9.0 + means)


def test_targets_by_name_in_another_order_than_the_outputs_reach_the_hook():
    def hook(x, y, y_pred):
        column, rows = y_pred
        return {"both": ops.square(y["b"] - column)[:, 0] + ops.square(y["a"] - rows)}

    inputs = keras.Input((3,))
    scores = dense()(inputs)
    model = still(hooked(hook)(inputs, [scores, keras.layers.Reshape(())(scores)]))
    logs = evaluate(model, y={"a": Y[:, 0], "b": Y})
    assert logs["both"] == close(2 * MSE)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def compute_losses(self, inputs, targets): ...", r"\['inputs', 'targets'\]"),
        ("def compute_losses(self, x, y_pred, weights): ...", r"\['weights'\]"),
        ("def compute_losses(x, y, y_pred): ...", "Make `self` its first argument"),
        ("def compute_losses(): ...", "Make `self`"),
    ],
)
def test_another_signature_is_refused_when_the_class_is_made(source, message):
    code = compile(f"class Model(LossAwareModel):\n    {source}", "user.py", "exec")
    with pytest.raises(TypeError, match=rf"(?s)`compute_losses` must.*user.py:2.*{message}"):
        exec(code, {"LossAwareModel": LossAwareModel})


def test_arguments_in_another_order_are_given_by_name():
    class Swapped(LossAwareModel):
        def compute_losses(self, y, x, y_pred, sample_weight=None, training=True):
            return {"target": keras.ops.sum(y), "input": keras.ops.sum(x)}

    model = linear(Swapped)
    model.compile("sgd")
    logs = model.evaluate(np.full((2, 3), 5.0), np.ones((2, 1)), verbose=0, return_dict=True)
    assert (logs["target"], logs["input"]) == (2.0, 30.0)
