"""Functions of `losses` given to `compile(loss=...)`: right, or refused with the class."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_trainsteps import LossAwareModel, LossTerm, losses
from tests.losses.every_loss import CASES, one_of_each

RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(5, 3)).astype("float32")
LABELS = np.array([[2, 0, 1, 0], [0, 1, 0, 0], [1, 1, 0, 2], [1, 1, 1, 1], [1, 1, 1, 1]], "f4")
COMPARE = {
    case.function.__name__: case
    for case in CASES.values()
    if case.of == "queries" and "pointwise" not in case.function.__module__
}
POINTWISE = (losses.mean_squared_error, losses.sigmoid_crossentropy)


def model_of(width, cls=LossAwareModel):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((3,))
    return cls(inputs, keras.layers.Dense(width)(inputs))


by_name = pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=() if one_of_each(n) else pytest.mark.slow) for n in COMPARE],
)


def evaluated(model, y, **options):
    return model.evaluate(FEATURES, y, verbose=0, return_dict=True, **options)["loss"]


@by_name
@pytest.mark.parametrize("y", [LABELS[:, 0], LABELS[:, :1]], ids=["rows", "column"])
def test_one_score_per_row_is_refused_with_the_class(name, y):
    model = model_of(1)
    model.compile("sgd", loss=COMPARE[name].function, run_eagerly=True)
    before = model.get_weights()
    with pytest.raises(
        ValueError, match=rf"losses\.{COMPARE[name].cls.__name__}\(query_ids=\.\."
    ):
        model.fit(FEATURES, y, verbose=0)
    assert all((a == b).all() for a, b in zip(before, model.get_weights(), strict=True))


@by_name
def test_padded_lists_are_what_the_function_takes(name):
    function = COMPARE[name].function
    model = model_of(4)
    model.compile("sgd", loss=function, run_eagerly=True)
    term = function(LABELS, model(FEATURES))
    assert evaluated(model, LABELS) == pytest.approx(float(term.value), rel=1e-6)
    # An epoch is the sum of totals over the sum of counts, and not a mean of batches.
    parts = [function(LABELS[rows], model(FEATURES[rows])) for rows in (slice(0, 3), slice(3, 5))]
    epoch = sum(float(part.total) for part in parts) / sum(float(part.count) for part in parts)
    assert evaluated(model, LABELS, batch_size=3) == pytest.approx(epoch, rel=1e-6)


def test_padded_lists_are_trained_in_a_graph():
    model = model_of(4)
    model.compile(keras.optimizers.SGD(0.5), loss=losses.pairwise_logistic)
    logs = model.fit(FEATURES, LABELS, epochs=5, verbose=0).history["loss"]
    assert logs[-1] < logs[0] - 0.05


@pytest.mark.parametrize("function", POINTWISE, ids=lambda function: function.__name__)
def test_pointwise_functions_take_rows(function):
    model = model_of(1)
    model.compile("sgd", loss=function, run_eagerly=True)
    y, weight = np.minimum(LABELS[:, 0], 1), np.arange(5.0)
    scores = model(FEATURES)[:, 0]
    found = evaluated(model, y, sample_weight=weight)
    expected = function(y, scores, sample_weight=weight).value
    assert found == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.parametrize(
    "made",
    [
        functools.partial(losses.pairwise_logistic, temperature=2.0),
        losses.with_gumbel(losses.softmax, seed=1),
    ],
    ids=["partial", "gumbel"],
)
def test_functions_made_of_these(made):
    model = model_of(4)
    model.compile("sgd", loss=made, run_eagerly=True)
    expected = float(made(LABELS, model(FEATURES)).value)
    assert evaluated(model, LABELS) == pytest.approx(expected, rel=1e-6)
    model = model_of(1)
    model.compile("sgd", loss=made, run_eagerly=True)
    with pytest.raises(ValueError, match="compares the rows of a query"):
        model.fit(FEATURES, LABELS[:, :1], verbose=0)


@pytest.mark.slow
def test_an_object_for_padded_lists_is_refused_on_single_scores():
    model = model_of(1)
    model.compile("sgd", loss=losses.PairwiseLogistic(None), run_eagerly=True)
    with pytest.raises(ValueError, match=r"losses\.PairwiseLogistic\(query_ids=\.\.\.\)"):
        model.fit(FEATURES, LABELS[:, :1], verbose=0)


def summed(y_true, y_pred) -> LossTerm:
    return LossTerm(tf.reduce_sum(y_pred - y_true), 7.0)


def test_a_function_of_ones_own_that_returns_a_term():
    model = model_of(4)
    model.compile("sgd", loss=summed, run_eagerly=True)
    expected = float(tf.reduce_sum(model(FEATURES) - LABELS) / 7.0)
    assert evaluated(model, LABELS.astype("float32")) == pytest.approx(expected, rel=1e-6)
    model.compile("sgd", loss=lambda y_true, y_pred: summed(y_true, y_pred), run_eagerly=True)
    with pytest.raises(TypeError, match="must return values or a scalar"):
        model.fit(FEATURES, LABELS, verbose=0)
