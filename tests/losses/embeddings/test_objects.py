"""Losses of several outputs and of labels as objects: what they read, what they refuse."""

import keras
import numpy as np
import pytest

from keras_trainsteps import LossAwareModel, losses

A, P, N = np.random.default_rng(0).normal(size=(3, 6, 3)).astype("float32")


def passing_on(names, as_list=False):
    """A network whose outputs are its inputs, through a trained matrix, at first the identity."""
    inputs = {name: keras.Input((3,), name=name) for name in names}
    layer = keras.layers.Dense(3, use_bias=False, kernel_initializer="identity")
    outputs = {name: layer(value) for name, value in inputs.items()}
    return LossAwareModel(inputs, list(outputs.values()) if as_list else outputs)


def value_of(model, loss, x, *y, **options):
    model.compile("sgd", loss=loss)
    return model.evaluate(x, *y, batch_size=6, verbose=0, **options)


def test_triplets_need_no_targets():
    x = {"anchor": A, "positive": P, "negative": N}
    model = passing_on(x)
    expected = float(losses.triplet(A, P, N).value)
    assert value_of(model, losses.Triplet(), x) == pytest.approx(expected, rel=1e-6)
    before = model.get_weights()
    history = model.fit(x, epochs=2, verbose=0).history
    assert history["loss"][0] == pytest.approx(expected, rel=1e-6)
    assert (model.get_weights()[0] != before[0]).any()


@pytest.mark.parametrize("as_list", [True, False])
def test_outputs_are_taken_by_name_or_in_order(as_list):
    x = {"question": A, "right": P, "wrong": N}
    model = passing_on(x, as_list)
    loss = losses.Triplet(outputs=("question", "right", "wrong"), margin=0.5)
    expected = float(losses.triplet(A, P, N, margin=0.5).value)
    assert value_of(model, loss, x) == pytest.approx(expected, rel=1e-6)


def test_targets_beside_several_outputs_carry_weights():
    x, weight = {"anchor": A, "positive": P, "negative": N}, np.arange(6.0)
    found = value_of(passing_on(x), losses.Triplet(), x, np.zeros(6), sample_weight=weight)
    expected = float(losses.triplet(A, P, N, sample_weight=weight).value)
    assert found == pytest.approx(expected, rel=1e-6)


def test_info_nce_reads_ids_and_probabilities():
    x = {"anchor": A, "positive": P, "item": np.array([7, 8, 7, 9, 9, 2**40])}
    x["q"] = np.linspace(0.1, 0.9, 6)
    loss = losses.InfoNCE(ids="item", sampling_probability="q", temperature=0.5)
    assert loss.side_inputs == ("item", "q")
    expected = losses.info_nce(A, P, ids=x["item"], sampling_probability=x["q"], temperature=0.5)
    found = value_of(passing_on(("anchor", "positive")), loss, x)
    assert found == pytest.approx(float(expected.value), rel=1e-6)
    again = losses.InfoNCE.from_config(loss.get_config())
    assert again.side_inputs == loss.side_inputs


def test_info_nce_reads_queries_and_negatives():
    own = np.random.default_rng(1).normal(size=(6, 3)).astype("float32")
    x = {"anchor": A, "positive": P, "hard": own, "user": np.array([1, 2, 1, 3, 3, 4])}
    x |= {"item": np.arange(6), "other": np.array([9, 0, 9, 9, 9, 9])}
    x |= {"kept": np.array([1, 1, 1, 1, 1, 0], bool)}
    loss = losses.InfoNCE(
        positives_by="user",
        ids="item",
        negatives="hard",
        negative_ids="other",
        negative_mask="kept",
        mask="kept",
        decoupled=True,
    )
    found = value_of(passing_on(("anchor", "positive", "hard")), loss, x)
    options = {"positives_by": x["user"], "ids": x["item"], "negative_ids": x["other"]}
    options |= {"mask": x["kept"], "negative_mask": x["kept"], "decoupled": True}
    expected = losses.info_nce(A, P, negatives=own, **options)
    assert found == pytest.approx(float(expected.value), rel=1e-6)
    for model, received in (
        (passing_on(("anchor", "positive")), r"'hard' for \['anchor', 'positive'\]"),
        (passing_on(("anchor", "positive"), True), "'hard' for no dict"),
    ):
        with pytest.raises(ValueError, match="`negatives` must name an entry.*" + received):
            value_of(model, losses.InfoNCE(negatives="hard"), {"anchor": A, "positive": P})


def test_several_losses_of_all_outputs():
    x = {"anchor": A, "positive": P, "negative": N}
    one, other = losses.Triplet(margin=0.5), losses.InfoNCE()
    model = passing_on(x)
    model.compile("sgd", loss=[one, other], loss_weights=[1.0, 0.5])
    found = model.evaluate(x, batch_size=6, verbose=0, return_dict=True)
    terms = float(losses.triplet(A, P, N, margin=0.5).value), float(losses.info_nce(A, P).value)
    assert found["triplet_loss"] == pytest.approx(terms[0], rel=1e-6)
    assert found["info_nce_loss"] == pytest.approx(terms[1], rel=1e-6)
    assert found["loss"] == pytest.approx(terms[0] + 0.5 * terms[1], rel=1e-6)


@pytest.mark.parametrize("dtype", ["targets", "side input", "strings"])
def test_labels_are_targets_or_a_side_input(dtype):
    labels = np.array([0, 0, 1, 1, 2, 2])
    expected = float(losses.contrastive(labels, A).value)
    if dtype == "targets":
        found = value_of(passing_on(("a",), True), losses.Contrastive(), {"a": A}, labels)
    else:  # integers that float32, which Keras casts targets to, would round together
        wide = labels + 2**53 if dtype == "side input" else labels.astype(str)
        loss = losses.Contrastive(y_true="label")
        found = value_of(passing_on(("a",), True), loss, {"a": A, "label": wide})
    assert found == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("loss", "match"),
    [
        (losses.Triplet(), r"must be a dict with the entries \('anchor', 'positive', 'negative'"),
        (losses.InfoNCE(outputs=("a", "q")), r"Received: a dict of \['a', 'b'\]"),
        (losses.NTXent(mask="m"), "`x` must have the side input 'm'"),
    ],
)
def test_outputs_that_are_not_there(loss, match):
    with pytest.raises(ValueError, match=match):
        value_of(passing_on(("a", "b")), loss, {"a": A, "b": P})


def test_a_number_of_outputs_that_is_not_the_function_s():
    with pytest.raises(ValueError, match=r"with the entries.*Received: 2 in order"):
        value_of(passing_on(("a", "b"), True), losses.Triplet(), {"a": A, "b": P})
    with pytest.raises(ValueError, match="`outputs` must name the 2 outputs"):
        losses.InfoNCE(outputs=("a", "b", "c"))


def test_labels_that_are_missing():
    with pytest.raises(ValueError, match="`y` must be given: `MultiSimilarity` compares"):
        value_of(passing_on(("a",), True), losses.MultiSimilarity(), {"a": A})


def test_weights_that_are_given_twice():
    loss = losses.MinedTriplet(sample_weight="w")
    x, labels = {"a": A, "w": np.ones(6)}, np.array([0, 0, 1, 1, 2, 2])
    with pytest.raises(ValueError, match="`sample_weight` must be given once"):
        value_of(passing_on(("a",), True), loss, x, labels, sample_weight=np.ones(6))


def test_weights_that_keras_would_drop():
    x = {"anchor": A, "positive": P, "negative": N}
    with pytest.raises(ValueError, match="Received: weights without `y`, which Keras would drop"):
        value_of(passing_on(x), losses.Triplet(), x, sample_weight=np.ones(6))


@pytest.mark.parametrize(
    ("loss", "match"),
    [
        ([losses.NTXent(), "mse"], r"Received: also \['mse'\]"),
        ({"a": losses.NTXent()}, r"Received: a dict of \['a'\]"),
        ([losses.NTXent(), losses.Contrastive()], r"Received: also \['contrastive'\]"),
    ],
)
def test_losses_of_one_output_beside_those_of_all(loss, match):
    with pytest.raises(ValueError, match="`loss` must be one loss, or a list.*" + match):
        passing_on(("a", "b")).compile("sgd", loss=loss)


def test_a_loss_that_would_be_saved_without_its_options():
    class Scaled(losses.SideInputLoss):
        def __init__(self, scale, name=None):
            super().__init__(name=name)

    class Plain(losses.SideInputLoss):
        pass

    with pytest.raises(NotImplementedError, match=r"`get_config`.*lose the options \['scale'\]"):
        Scaled(2.0).get_config()
    assert Plain(name="plain").get_config() == {"name": "plain"}
