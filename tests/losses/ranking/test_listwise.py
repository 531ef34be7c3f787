import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from keras_trainsteps.losses import lambda_weights
from keras_trainsteps.losses.ranking import listwise
from keras_trainsteps.losses.ranking.list_mle import list_mle
from tests.losses.check import assert_same, term_and_gradient
from tests.losses.rows import row_batches
from tests.reference import listwise as reference
from tests.reference.complex_step import gradient

CASES = [
    (listwise.softmax, reference.softmax, {}),
    (listwise.softmax, reference.softmax, {"labels": "normalized"}),
    (listwise.softmax, reference.softmax, {"labels": "softmax"}),
    (listwise.unique_softmax, reference.unique_softmax, {}),
    (list_mle, reference.list_mle, {}),
]
# What an option changes.
OPTIONS = [
    (listwise.softmax, reference.softmax, {"labels": lambda_weights.NDCG(2)}),
    (listwise.softmax, reference.softmax, {"labels": lambda_weights.DCG(gains="linear")}),
    (listwise.unique_softmax, reference.unique_softmax, {"gains": "linear"}),
    (list_mle, reference.list_mle, {"position_discount": "reciprocal"}),
    (list_mle, reference.list_mle, {"position_discount": "log2"}),
    (listwise.softmax, reference.softmax, {"weigh": "relevant"}),
    (list_mle, reference.list_mle, {"weigh": "relevant"}),
]


@pytest.mark.parametrize(
    ("loss", "plain", "options"),
    [
        *CASES,
        *OPTIONS[:1],
        *(pytest.param(*case, marks=pytest.mark.slow) for case in OPTIONS[1:]),
    ],
)
@given(
    batch=row_batches(),
    normalize=st.sampled_from(["queries", "lists", "rows"]),
    temperature=st.sampled_from([1.0, 0.5]),
)
def test_value_and_gradient_are_those_of_plain_loops(
    loss, plain, options, batch, normalize, temperature
):
    def total(scores):
        y, _, *rest = batch
        return reference.over_queries(plain, y, scores / temperature, *rest, normalize, **options)

    more = options | {"normalize": normalize, "temperature": temperature}
    result = term_and_gradient(
        lambda s: loss(**batch._asdict() | {"y_pred": s}, **more), batch.y_pred
    )
    expected = (*total(batch.y_pred), gradient(lambda s: total(s)[0], batch.y_pred))
    assert_same(result, expected)


@pytest.mark.parametrize("loss", [listwise.unique_softmax, list_mle])
def test_a_wide_spread_of_scores_cancels_nothing(loss):
    # exp(1000) overflows and exp(-1000) vanishes; sums of them minus sums lose everything.
    y_true = np.arange(6.0)[::-1]
    scores = np.array([-1000.0, -1000.5, 0.0, 0.25, 1000.0, 999.0])
    plain = getattr(reference, loss.__name__)
    expected = plain(y_true, scores, np.ones(6))[0]
    slope = gradient(lambda s: plain(y_true, s, np.ones(6))[0], scores)
    result = term_and_gradient(lambda s: loss(y_true, s, query_ids=np.ones(6, int)), scores)
    assert_same(result, (expected, 1.0, slope))


def test_softmax_does_not_depend_on_a_common_shift():
    y_true, scores = np.array([[1.0, 0.0]]), np.array([[0.5, -0.5]])
    there = listwise.softmax(y_true, scores + 2.0**20)
    assert float(there.total) == float(listwise.softmax(y_true, scores).total)


def test_long_list_in_float32_is_exact_to_an_ulp():
    rng = np.random.default_rng(0)
    scores, y_true = rng.normal(size=3000), rng.permutation(3000).astype(float)
    ids = np.zeros(3000, int)
    single = list_mle(y_true, scores.astype(np.float32), query_ids=ids)
    double = list_mle(y_true, scores.astype(np.float32).astype(float), query_ids=ids)
    assert np.float32(double.total) == single.total


def test_a_second_derivative_raises():
    scores = tf.constant([0.5, 0.0])
    with tf.GradientTape() as outer:
        outer.watch(scores)
        with tf.GradientTape() as inner:
            inner.watch(scores)
            value = list_mle([1.0, 0.0], scores, query_ids=[1, 1]).value
        slope = tf.reduce_sum(inner.gradient(value, scores) ** 2)
    with pytest.raises(NotImplementedError, match="first derivative only"):
        outer.gradient(slope, scores)


def test_tied_labels_keep_the_order_of_rows():
    # The first of two tied items is placed first: log(1 + exp(s_2 - s_1)).
    term = list_mle([1.0, 1.0], np.array([3.0, 0.0]), query_ids=[1, 1])
    np.testing.assert_allclose(term.total, np.log1p(np.exp(-3.0)), rtol=1e-14)


def test_random_ties_are_drawn_anew_and_reproducibly():
    scores = np.arange(8.0)

    def total(seed):
        return float(
            list_mle(
                np.ones(8), scores, query_ids=np.ones(8, int), ties="random", seed=seed
            ).total
        )

    assert total(3) == total(3) != total(4)
    generator = keras.random.SeedGenerator(3)
    draws = [total(generator) for _ in range(3)]
    assert len(set(draws)) == 3
    generator = keras.random.SeedGenerator(3)
    assert [total(generator) for _ in range(3)] == draws
    assert total(None) != total(None)


def test_random_ties_leave_distinct_labels_alone():
    y_true, scores = np.array([2.0, 0.0, 1.0]), np.array([0.3, 0.1, -2.0])
    stable = list_mle(y_true, scores, query_ids=[1, 1, 1])
    drawn = list_mle(y_true, scores, query_ids=[1, 1, 1], ties="random", seed=1)
    assert float(stable.total) == float(drawn.total)


def test_bad_options_are_refused():
    for loss in (listwise.softmax, listwise.unique_softmax):
        with pytest.raises(ValueError, match=r"`y_true` must not be negative.*-1\.0"):
            loss([1.0, -1.0], [0.0, 0.0], query_ids=[1, 1])
    for loss in (listwise.softmax, listwise.unique_softmax, list_mle):
        with pytest.raises(ValueError, match="`temperature` must be a finite number above 0"):
            loss([1.0], [0.0], query_ids=[1], temperature=-1.0)
    with pytest.raises(ValueError, match="`labels` must be one of"):
        listwise.softmax([1.0], [0.0], query_ids=[1], labels="raw")
    with pytest.raises(ValueError, match="`ties` must be one of"):
        list_mle([1.0], [0.0], query_ids=[1], ties="average")
    with pytest.raises(TypeError, match="`seed` must be an integer"):
        list_mle([1.0], [0.0], query_ids=[1], ties="random", seed="a")


def test_negative_labels_have_an_order():
    shifted = list_mle([-1.0, -2.0], [0.5, 0.0], query_ids=[1, 1])
    plain = list_mle([2.0, 1.0], [0.5, 0.0], query_ids=[1, 1])
    assert float(shifted.total) == float(plain.total)


@pytest.mark.parametrize(
    "loss", [functools.partial(listwise.softmax, labels="softmax"), list_mle]
)
def test_infinite_labels_are_not_hidden(loss):
    @tf.function(input_signature=[tf.TensorSpec((None,), tf.float64)])
    def value(y_true):
        return loss(y_true, [0.0, 1.0, 2.0], query_ids=[1, 1, 1]).value

    assert np.isfinite(value([1.0, 2.0, 3.0]))
    assert np.isnan(value([np.inf, 2.0, 3.0]))


def test_what_are_no_discounts_and_weights_is_refused():
    with pytest.raises(ValueError, match="`discount` must be one of 'log2', 'reciprocal', or"):
        list_mle([1.0], [0.0], query_ids=[1], position_discount="rank")
    with pytest.raises(ValueError, match="`weigh` must be one of 'rows', 'relevant'"):
        list_mle([1.0], [0.0], query_ids=[1], weigh="queries")
    with pytest.raises(ValueError, match="`labels` must be one of 'given'"):
        listwise.softmax([1.0], [0.0], query_ids=[1], labels=lambda_weights.NDCG2())
    with pytest.raises(ValueError, match="`y_true` must not be negative"):
        list_mle([-1.0, 1.0], [0.0, 1.0], query_ids=[1, 1], weigh="relevant")
