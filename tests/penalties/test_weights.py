"""Which weights a penalty reads, and what it refuses."""

import keras
import numpy as np
import pytest

from keras_trainsteps import LossAwareModel, LossAwareSequential, penalties
from keras_trainsteps.penalties import L2SP, WeightPenalty
from tests.reference import penalties as reference

X = np.ones((8, 3), "float32")
Y = np.ones((8, 1), "float32")


def two_layers(name="two_layers"):
    inputs = keras.Input((3,))
    hidden = keras.layers.Dense(3, name="first")(inputs)
    return LossAwareModel(inputs, keras.layers.Dense(1, name="last")(hidden), name=name)


def value_of(model, penalty):
    model.add_loss(penalty, name="penalty")
    (value,) = model.losses
    model.remove_term("penalty")
    return float(value)


def kernels(model):
    """Every kernel as one row of float64 numbers."""
    each = [weight.numpy() for weight in model.weights if weight.name == "kernel"]
    return [kernel.astype("float64").reshape(-1) for kernel in each]


def test_layers_variables_and_paths_stand_for_their_weights():
    model = two_layers()
    first, last = model.get_layer("first"), model.get_layer("last")
    expected = 0.5 * reference.sum_of_norms(*kernels(model))
    for weights in ([first, last], ["*/kernel"], [first.kernel, "last/kernel"]):
        penalty = WeightPenalty(penalties.sum_of_norms, weights=weights, coefficient=0.5)
        assert value_of(model, penalty) == pytest.approx(expected, rel=1e-6)
    one = WeightPenalty(penalties.tying, weights=[first.kernel, first.kernel])
    assert value_of(model, one) == 0.0


def test_l2sp_holds_the_weights_that_training_starts_with():
    model = two_layers()
    model.add_loss(L2SP(weights=["*/kernel"], coefficient=0.3), name="l2sp")
    model.compile("sgd", loss="mse")
    model.set_weights([weight + 1 for weight in model.get_weights()])  # after adding it
    starts = kernels(model)
    history = model.fit(X, Y, epochs=3, verbose=0).history
    assert history["l2sp"][0] == 0.0
    weights = [w.numpy().astype("float64") for w in model.weights if w.name == "kernel"]
    expected = reference.l2sp(
        0.3, [w.reshape(-1) for w in weights], [w.reshape(-1) for w in starts]
    )
    assert expected > 0
    assert float(model.losses[0]) == pytest.approx(expected, rel=1e-5)
    # Nothing of the start is a weight, or is saved.
    assert model.count_params() == two_layers().count_params()


def test_l2sp_of_a_model_that_fit_builds_is_right_or_refused():
    class Called(LossAwareModel):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(1)

        def call(self, inputs):
            return self.dense(inputs)

    model = Called()
    model.add_loss(L2SP(), name="l2sp")
    model.compile("sgd", loss="mse")
    assert model.fit(X, Y, verbose=0).history["l2sp"] == [0.0]
    model = LossAwareSequential([keras.layers.Dense(1)])
    model.add_loss(L2SP(), name="l2sp")
    model.compile("sgd", loss="mse")
    with pytest.raises(ValueError, match="needs the weights at which training starts"):
        model.fit(X, Y, verbose=0)


def only_first(first, last):
    return keras.ops.sum(first)


def vector(*weights):
    return weights[0]


BAD = {
    "no path": (
        lambda: WeightPenalty(penalties.sum_of_norms, weights=["frist/kernel"]),
        ValueError,
        r"`weights` names 'frist/kernel', which matches no weight. Near names: \['first/kernel'",
    ),
    "other model": (
        lambda: WeightPenalty(penalties.sum_of_norms, weights=[two_layers("other").layers[1]]),
        ValueError,
        "must name weights of the model 'two_layers'",
    ),
    "no gradient": (
        lambda: WeightPenalty(only_first, weights=["first/kernel", "last/kernel"]),
        ValueError,
        r"must have a gradient for each of its weights. Received: none for \['last/kernel'\]",
    ),
    "no scalar": (
        lambda: WeightPenalty(vector, weights=["first/kernel"]),
        ValueError,
        r"must be a scalar. Received: shape \(3, 3\)",
    ),
    "arguments": (
        lambda: WeightPenalty(only_first, weights=["first/kernel"]),
        ValueError,
        "`fn` must take the 1 weights that `weights` stands for",
    ),
    "no weights": (
        lambda: WeightPenalty(penalties.sum_of_norms, weights=[keras.layers.ReLU()]),
        ValueError,
        "stands for its trainable weights of two or more axes. Received: layer",
    ),
    "nothing": (
        lambda: WeightPenalty(penalties.sum_of_norms, weights=[]),
        ValueError,
        "`weights` must name what the penalty reads",
    ),
    "a number": (
        lambda: WeightPenalty(penalties.sum_of_norms, weights=[3]),
        TypeError,
        "`weights` must hold layers, variables or paths of weights. Received: int",
    ),
    "no function": (
        lambda: WeightPenalty(3, weights=["*"]),
        TypeError,
        "`fn` must be a function",
    ),
    "coefficient": (
        lambda: WeightPenalty(penalties.sum_of_norms, weights=["*"], coefficient=float("inf")),
        ValueError,
        "`coefficient` must be a finite number or a `TrainableCoefficient`. Received: inf",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_refused_changes_nothing(case):
    build, error, message = BAD[case]
    model = two_layers()
    before = [layer.name for layer in model.layers]
    with pytest.raises(error, match=message):
        model.add_loss(build(), name="penalty")
    assert [layer.name for layer in model.layers] == before
    assert model.losses == []
