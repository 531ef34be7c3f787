"""Which target, loss, weight and name belongs to which output of the network."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_trainsteps import LossAwareModel
from tests.toy import (
    MAE,
    MSE,
    SQUARES,
    SUMS,
    WEIGHTS,
    X,
    Y,
    close,
    dense,
    evaluate,
    network,
    still,
)

ABSOLUTE = np.abs(SUMS - Y[:, 0])
HALF = (WEIGHTS / 2).astype("float32")


def outputs(structure):
    """A model of which each output, whatever its name, is the sum of the features."""
    inputs = keras.Input((3,))
    layers = keras.tree.map_structure(lambda name: dense(name=name)(inputs), structure)
    return LossAwareModel(inputs, layers)


@pytest.mark.parametrize(
    ("y", "weight"),
    [
        ({"score": Y}, {"score": WEIGHTS}),
        ({"label": Y}, {"label": WEIGHTS}),
    ],
    ids=["a dict by the output's name", "a dict with one weight"],
)
def test_weights_in_a_dict_reach_the_one_output(y, weight):
    inputs = keras.Input((3,))
    model = still(LossAwareModel(inputs, dense(name="score")(inputs)), loss="mse")
    logs = evaluate(model, y=y, sample_weight=weight)
    assert logs["loss"] == close(np.mean(WEIGHTS * SQUARES))


def test_losses_targets_and_weights_in_lists_inside_a_dict_are_found_by_position():
    model = outputs({"many": ["first", "second"], "one": "third"})
    still(model, loss={"many": ["mse", "mae"], "one": "mae"})
    y = {"many": (Y, Y), "one": 0 * Y}
    weight = {"many": (WEIGHTS, HALF), "one": HALF}
    data = keras.tree.map_structure(lambda array: array.astype("float32"), (X, y, weight))
    batches = tf.data.Dataset.from_tensors(data)
    logs = model.evaluate(batches, verbose=0, return_dict=True)
    parts = {
        "many/first_loss": np.mean(WEIGHTS * SQUARES),
        "many/second_loss": np.mean(HALF * ABSOLUTE),
        "one_loss": np.mean(HALF * np.abs(SUMS)),
    }
    assert logs == {
        **{name: close(part) for name, part in parts.items()},
        "loss": close(sum(parts.values())),
    }


def test_a_weight_for_each_target_goes_to_the_output_of_that_target():
    model = still(outputs(["first", "second", "third"]), loss=["mse", None, "mae"])
    logs = evaluate(model, y=[Y, Y], sample_weight=[WEIGHTS, HALF])
    assert logs["first_loss"] == close(np.mean(WEIGHTS * SQUARES))
    assert logs["third_loss"] == close(np.mean(HALF * ABSOLUTE))


def test_outputs_in_a_dict_are_named_by_their_keys():
    model = still(
        outputs({"click": "second", "buy": "first"}), loss={"click": "mse", "buy": "mae"}
    )
    logs = evaluate(model, y={"click": Y, "buy": Y})
    assert logs == {"loss": close(MSE + MAE), "click_loss": close(MSE), "buy_loss": close(MAE)}


def test_losses_of_one_name_on_one_output_are_numbered_from_1():
    logs = evaluate(still(network(), loss=["mse", "mse", "mse"], loss_weights=[1.0, 2.0, 3.0]))
    assert logs == {
        "loss": close((1 + 2 + 3) * MSE),
        "mse_loss": close(MSE),
        "mse_1_loss": close(MSE),
        "mse_2_loss": close(MSE),
    }


NETWORKS = {
    "dict": {"a": "first", "b": "second"},
    "list": ["a", "b"],
    "nested": {"a": ["x", "y"], "b": "z"},
}
TARGETS = {
    "dict": {"a": Y, "b": Y},
    "list": {"a": Y, "b": Y},
    "nested": {"a": (Y, Y), "b": Y},  # `tf.data` makes one tensor of a list
}


def batches(y, weight=None):
    """One batch, as `tf.data` hands it over: in the structure that it has."""
    parts = (X, y) if weight is None else (X, y, weight)
    return tf.data.Dataset.from_tensors(
        keras.tree.map_structure(lambda array: np.asarray(array, "float32"), parts)
    )


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("what", ["targets", "weights", "losses", "loss weights"])
def test_a_name_that_fits_no_output_is_refused(kind, what):
    y, options, weight = TARGETS[kind], {"loss": "mse"}, None
    wrong = {"a": y["a"], "bb": y["b"]}
    if what == "targets":
        y = wrong
    elif what == "weights":
        weight = keras.tree.map_structure(lambda _: WEIGHTS, wrong)
    elif what == "losses":
        options["loss"] = {"a": "mse", "bb": "mae"}
    else:
        options["loss_weights"] = {"bb": 1.0}
    model = still(outputs(NETWORKS[kind]), **options)
    with pytest.raises(ValueError, match="'bb'"):
        model.fit(batches(y, weight), verbose=0)


def test_a_weight_by_the_name_of_a_layer_is_refused_where_outputs_have_keys():
    model = still(outputs(NETWORKS["dict"]), loss="mse", loss_weights={"first": 2.0})
    with pytest.raises(ValueError, match=r"must name terms or outputs. Received: \['first'\]"):
        model.fit(batches(TARGETS["dict"]), verbose=0)


def test_one_weight_in_a_tuple_does_not_serve_two_outputs():
    model = still(outputs(NETWORKS["dict"]), loss="mse")
    with pytest.raises(ValueError, match="`sample_weight` must have one entry for each output"):
        model.fit(batches(TARGETS["dict"], (WEIGHTS,)), verbose=0)


def together(y_true, y_pred):
    """The mean of squares over a group of outputs."""
    pairs = zip(keras.tree.flatten(y_true), keras.tree.flatten(y_pred), strict=True)
    return keras.ops.mean(keras.ops.stack([keras.ops.square(p - t) for t, p in pairs]))


GROUPS = {  # structure of outputs, losses, loss weights
    "one loss of a group": ({"p": ("a", "b"), "q": "c"}, {"p": "mse", "q": "mse"}, None),
    "all together and each": ({"a": "x", "b": "y"}, [together, {"a": "mae", "b": "mae"}], None),
    "within a dict": (
        {"p": ("a", "b"), "q": "c"},
        {"p": [together, (None, "mae")], "q": "mse"},
        None,
    ),
    "weights in the structure": (
        {"p": ("a", "b"), "q": "c"},
        {"p": ("mse", "mse"), "q": "mse"},
        {"p": (2.0, 3.0), "q": 1.0},
    ),
    "one output of two": ({"p": "a", "q": "c"}, {"p": "mse"}, None),
    "all together": ({"a": "x", "b": "y"}, [together], None),
    "a list within a list": (["a", ("b", "c")], ["mse", together], None),
}


def multiples(cls, structure):
    """A model whose outputs are one, two, three times the sum of the features."""
    inputs = keras.Input((3,))
    factors = iter((1.0, 2.0, 3.0))

    def output(name):
        kernel = keras.initializers.Constant(next(factors))
        return keras.layers.Dense(1, kernel_initializer=kernel, name=name)(inputs)

    return cls(inputs, keras.tree.map_structure(output, structure))


@pytest.mark.slow
@pytest.mark.parametrize(("structure", "loss", "weights"), GROUPS.values(), ids=GROUPS)
def test_losses_of_groups_of_outputs_are_those_of_keras(structure, loss, weights):
    y = keras.tree.map_structure(lambda _: Y, structure)
    found = []
    for cls in (keras.Model, LossAwareModel):
        model = still(multiples(cls, structure), loss=loss, loss_weights=weights)
        found.append(model.evaluate(X, y, verbose=0, batch_size=len(X)))
    one, other = (np.ravel(each)[0] for each in found)
    assert one == other


def test_a_loss_of_all_outputs_together_is_logged_by_their_names():
    structure, loss, _ = GROUPS["all together and each"]
    y = keras.tree.map_structure(lambda _: Y, structure)
    logs = [
        set(still(multiples(cls, structure), loss=loss).fit(X, y, verbose=0).history)
        for cls in (keras.Model, LossAwareModel)
    ]
    assert logs == [{"loss", "a_b_loss", "a_loss", "b_loss"}] * 2
