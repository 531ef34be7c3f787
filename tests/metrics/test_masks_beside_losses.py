"""A metric of other tokens or rows than the loss beside it is said, once, by `compile`."""

import warnings

import keras
import numpy as np
import pytest

from keras_trainsteps import LossAwareModel, losses, metrics

TOKENS = [
    metrics.Perplexity,
    metrics.TokenAccuracy,
    metrics.SequenceAccuracy,
    metrics.EditDistance,
]


def model_of_words():
    inputs = keras.Input((3,), dtype="int32", name="words")
    return LossAwareModel(inputs, keras.layers.Embedding(5, 5)(inputs))


@pytest.mark.parametrize("cls", TOKENS)
@pytest.mark.parametrize("given", [{"mask": "m"}, {"pad_id": 0}, {"mask": "m", "pad_id": 0}])
def test_tokens_that_the_loss_leaves_out(cls, given):
    model, loss = model_of_words(), losses.MaskedCrossentropy(**given)
    with pytest.warns(UserWarning, match=rf"{cls.__name__}\(\) counts what .* of other tokens"):
        model.compile("sgd", loss, metrics=[cls()])
    model.compile("sgd", loss, metrics=[cls(**given)])


@pytest.mark.parametrize("cls", [metrics.NDCG, metrics.PairAccuracy])
def test_rows_that_the_loss_leaves_out(cls):
    inputs = keras.Input((2,), name="features")
    model = LossAwareModel(inputs, keras.layers.Dense(1)(inputs))
    loss = losses.PairwiseLogistic("q", mask="m")
    with pytest.warns(UserWarning, match="of other rows than the loss. Give it mask='m', too"):
        model.compile("sgd", loss, metrics=[cls("q")])
    with pytest.warns(UserWarning, match="of other rows than the loss"):
        model.compile("sgd", loss, weighted_metrics=[cls("q")])
    model.compile("sgd", loss, metrics=[cls("q", mask="m")])
    model.compile("sgd", losses.PairwiseLogistic("q"), metrics=[cls("q")])
    model.compile("sgd", [loss, losses.Softmax("q")], metrics=[cls("q")])


def test_with_the_same_mask_perplexity_is_that_of_the_loss():
    model = model_of_words()
    words = np.array([[1, 2, 0], [3, 4, 2]])
    x = {"words": words, "m": words != 0, "all": np.ones_like(words)}
    found = {}
    for mask in ("m", "all"):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            loss = losses.MaskedCrossentropy(mask="m")
            model.compile("sgd", loss, metrics=[metrics.Perplexity(mask=mask)], run_eagerly=True)
        given = {name: x[name] for name in ("words", "m", mask)}
        found[mask] = model.evaluate(given, words, verbose=0, return_dict=True)
    logs = np.asarray(model({"words": words}), np.float64)
    logs -= np.log(np.exp(logs).sum(-1, keepdims=True))
    each = -np.take_along_axis(logs, words[..., None], -1)[..., 0]
    assert found["m"]["perplexity"] == pytest.approx(np.exp(each[words != 0].mean()), rel=1e-6)
    assert found["m"]["loss"] == pytest.approx(each[words != 0].mean(), rel=1e-6)
    assert found["all"]["perplexity"] == pytest.approx(np.exp(each.mean()), rel=1e-6)
