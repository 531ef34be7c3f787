"""`add_loss`, `add_metric` and `remove_term`: what may be added, when, and under which name."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from keras_trainsteps import LossAwareModel
from keras_trainsteps.penalties import L2SP, TrainableCoefficient, WeightPenalty
from tests.toy import BATCHES, SUMS, close, dense, evaluate, fit, network, still


def with_tensor():
    """A model, and a tensor of its graph: the output itself."""
    model = network()
    return model, model.output


# What may be added


@pytest.mark.parametrize("method", ["add_loss", "add_metric"])
@pytest.mark.parametrize(
    ("source", "received"),
    [
        (lambda: keras.layers.Dense(1), "takes a function without .* Received: Dense"),
        (lambda: keras.Variable(1.0), "takes no tensor: .* Received: Variable of shape"),
        (lambda: tf.Variable(1.0), "takes no tensor: .* Received: ResourceVariable of shape"),
    ],
    ids=["layer", "variable", "tf.Variable"],
)
def test_what_computes_nothing_is_refused(method, source, received):
    model = network()
    with pytest.raises(TypeError, match=f"`{method}` .*{received}"):
        getattr(model, method)(source(), name="wrong")
    assert model.losses == []


def test_a_metric_is_no_number():
    with pytest.raises(TypeError, match=r"`add_metric` takes a function .* Received: float"):
        network().add_metric(2.0, name="two")


# Names


def test_an_inner_and_an_outer_model_may_not_add_under_one_name():
    inner = network()
    inner.add_loss(lambda: ops.sum(inner.trainable_weights[0]), name="size")
    inputs = keras.Input((3,), name="features")
    model = LossAwareModel(inputs, inner(inputs))
    model.add_loss(lambda: ops.sum(inner.trainable_weights[0]), name="size")
    with pytest.raises(ValueError, match=r"needs a name of its own.*Received: \['size'\]"):
        fit(still(model, loss="mse"))


# Values


def test_a_scalar_metric_weighs_as_the_rows_of_its_batch():
    model, scores = with_tensor()
    model.add_metric(ops.max(scores), name="largest")
    expected = sum(len(SUMS[rows]) * SUMS[rows].max() for rows in BATCHES) / len(SUMS)
    assert evaluate(still(model, loss="mse"))["largest"] == close(expected)


@pytest.mark.parametrize("kind", ["loss", "metric"])
def test_a_tensor_of_a_graph_that_call_does_not_run_is_refused(kind):
    class Called(LossAwareModel):
        def call(self, inputs, training=None, mask=None):
            return self.get_layer("scores")(inputs)

    inputs = keras.Input((3,), name="features")
    model = Called(inputs, dense(name="scores")(inputs))
    {"loss": model.add_loss, "metric": model.add_metric}[kind](model.output, name="scores")
    with pytest.raises(ValueError, match=r"`call` does not run the graph.*\['scores'\]"):
        fit(still(model, loss="mse"))


# Times


class AtTheStart(keras.callbacks.Callback):
    """Calls `act(model)` when training begins."""

    def __init__(self, act):
        super().__init__()
        self.act = act

    def on_train_begin(self, logs=None):
        self.act(self.model)


def test_nothing_is_removed_while_fit_runs():
    model = network()
    model.add_loss(2.0, name="two")
    still(model, loss="mse")
    remove = AtTheStart(lambda model: model.remove_term("two"))
    with pytest.raises(ValueError, match="Received: a call while it runs"):
        fit(model, callbacks=[remove])
    assert fit(model)["two"] == [2.0]


def test_the_starting_weights_of_a_penalty_are_those_that_fit_begins_with():
    model = network()
    model.add_loss(L2SP(coefficient=1.0), name="moved")
    shift = AtTheStart(lambda model: model.set_weights([np.full((3, 1), 3.0, "float32")]))
    history = fit(still(model, loss="mse"), callbacks=[shift])
    assert history["moved"] == [close(3 * (3.0 - 1.0) ** 2 / 2)]


# Trained coefficients, and terms that a clone does not hold


def test_a_removed_term_takes_its_coefficient_along():
    model = network()
    model.add_loss(L2SP(coefficient=TrainableCoefficient(0.5)), name="moved")
    assert len(model.weights) == 1 + 1
    model.remove_term("moved")
    assert len(model.weights) == 1
    assert sorted(fit(still(model, loss="mse"))) == ["loss"]


def norm(kernel):
    """A function that a file cannot hold."""
    return ops.sum(ops.square(kernel))


def cloned(source):
    """A clone of a model with an added loss, which the clone lacks."""
    model = network()
    model.add_loss(source(model), name="missing")
    with pytest.warns(UserWarning, match="'missing' is not saved"):
        config = model.get_config()
    return LossAwareModel.from_config(config)


def trained_norm(model=None):
    coefficient = TrainableCoefficient(0.5)
    return WeightPenalty(norm, weights="*kernel", coefficient=coefficient)


def test_a_missing_loss_with_its_coefficient_is_added_again_to_a_built_optimizer():
    model = cloned(trained_norm)
    model.compile(keras.optimizers.SGD(0.1), loss="mse")
    model.optimizer.build(model.trainable_variables)
    model.add_loss(trained_norm(), name="missing")
    history = fit(model, batch_size=10)
    assert history["missing"] == [close(0.5 * 3)]
    assert float(model.trainable_weights[-1]) != 0.5


def test_a_metric_does_not_fill_the_place_of_a_missing_loss():
    model = cloned(lambda model: lambda: norm(model.trainable_weights[0]))
    with pytest.raises(ValueError, match="'missing', which is taken"):
        model.add_metric(lambda: norm(model.trainable_weights[0]), name="missing")
