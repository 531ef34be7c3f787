"""Every lambda weight against plain formulas, and within a saved loss."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given

from keras_trainsteps import losses
from keras_trainsteps.losses import lambda_weights
from tests.losses.pairs import assert_equals_reference, batch_of, batches, by_examples, traced
from tests.reference import lambda_weights as reference_weights

TABLE = [0.0, 1.0, 5.0, 4.0, 9.0]  # not even in the order of the labels


@keras.saving.register_keras_serializable("tests.lambda_weights")
def rsqrt(rank):
    return rank**-0.5


def linear(y):
    return y


def reciprocal(rank):
    return 1 / rank


def of_table(y):
    return TABLE[int(y)]


LAMBDAS = {
    "label_difference": (
        lambda_weights.LabelDifference(),
        reference_weights.label_difference,
        {},
    ),
    "dcg": (lambda_weights.DCG(), reference_weights.dcg, {}),
    "dcg@3": (lambda_weights.DCG(3), reference_weights.dcg, {"k": 3}),
    "ndcg": (lambda_weights.NDCG(), reference_weights.ndcg, {}),
    "ndcg@2": (lambda_weights.NDCG(2), reference_weights.ndcg, {"k": 2}),
    "ndcg2": (lambda_weights.NDCG2(), reference_weights.ndcg2, {}),
    "ndcg2@2": (lambda_weights.NDCG2(2), reference_weights.ndcg2, {"k": 2}),
    "precision@2": (lambda_weights.Precision(2), reference_weights.precision, {"k": 2}),
    "precision@2 from 2": (
        lambda_weights.Precision(2, relevant_from=2),
        reference_weights.precision,
        {"k": 2, "relevant_from": 2},
    ),
    "dcg2@2": (lambda_weights.DCG2(2), reference_weights.dcg2, {"k": 2}),
    "ndcg linear, reciprocal": (
        lambda_weights.NDCG(gains="linear", discount="reciprocal"),
        reference_weights.ndcg,
        {"gains": linear, "discount": reciprocal},
    ),
    "ndcg2@3 table, function": (
        lambda_weights.NDCG2(3, gains=TABLE, discount=rsqrt),
        reference_weights.ndcg2,
        {"k": 3, "gains": of_table, "discount": rsqrt},
    ),
    "yeti@2": (lambda_weights.YetiDCG(2), reference_weights.yeti_dcg, {"k": 2}),
    "yeti linear, reciprocal": (
        lambda_weights.YetiDCG(gains="linear", discount="reciprocal"),
        reference_weights.yeti_dcg,
        {"gains": linear, "discount": reciprocal},
    ),
    "dcg2 reciprocal": (
        lambda_weights.DCG2(gains="linear", discount="reciprocal"),
        reference_weights.dcg2,
        {"gains": linear, "discount": reciprocal},
    ),
}
OF_THE_FIRST_ROW = {
    "ndcg1@3": (lambda_weights.NDCG1(3), reference_weights.ndcg1, {"k": 3}),
    "ndcg1 linear, reciprocal": (
        lambda_weights.NDCG1(gains="linear", discount="reciprocal"),
        reference_weights.ndcg1,
        {"gains": linear, "discount": reciprocal},
    ),
    "dcg1@2": (lambda_weights.DCG1(2), reference_weights.dcg1, {"k": 2}),
    "arp1": (lambda_weights.ARP1(), reference_weights.arp1, {}),
}
EVERY = LAMBDAS | OF_THE_FIRST_ROW
ROWS = ("y_true", "y_pred", "sample_weight")


# Others are of the same code.
BY_DEFAULT = ("label_difference", "dcg@3", "ndcg@2", "ndcg2@2", "precision@2")


@by_examples
@pytest.mark.parametrize(
    "weight",
    [
        pytest.param(weight, id=name, marks=() if name in BY_DEFAULT else pytest.mark.slow)
        for name, weight in LAMBDAS.items()
    ],
)
def test_lambda_weights_equal_plain_formulas(weight):
    lambda_weight, reference, options = weight
    run = traced(losses.pairwise_logistic, lambda_weight=lambda_weight)

    @given(batches("float64"))
    def check(batch):
        assert_equals_reference(
            run,
            "LOGISTIC",
            batch,
            factor=lambda y, s, i, j: reference(y, s, i, j, **options),
        )

    check()


@by_examples
@pytest.mark.parametrize(
    "weight",
    [
        pytest.param(weight, id=name, marks=() if name == "ndcg1@3" else pytest.mark.slow)
        for name, weight in OF_THE_FIRST_ROW.items()
    ],
)
def test_weights_of_the_first_row_equal_plain_formulas(weight):
    lambda_weight, reference, options = weight
    run = traced(losses.pairwise_logistic, lambda_weight=lambda_weight, pairs="ordered")

    @given(batches("float64"))
    def check(batch):
        assert_equals_reference(
            run,
            "LOGISTIC",
            batch,
            pairs="ordered",
            factor=lambda y, s, i, j: reference(y, s, i, j, **options),
        )

    check()


@pytest.mark.parametrize(("k", "expected"), [(None, [1 / 2, 1 / 2]), (1, [1.0, 3 / 4])])
def test_weights_of_neighbours_in_the_tests_of_tf_ranking(k, expected):
    # YetiDCGLambdaWeightTest of losses_impl_test.py, less its factor of the list's length.
    weight = lambda_weights.YetiDCG(k, gains="linear", discount="reciprocal")
    scores = np.array([3.0, 2.0, 0.0])
    term = losses.pairwise_logistic([2, 1, 0], scores, query_ids=[0, 0, 0], lambda_weight=weight)
    costs = np.log1p(np.exp([-1.0, -2.0]))
    np.testing.assert_allclose(term.total, np.dot(expected, costs), rtol=1e-6)


def test_a_discount_that_leaves_no_room_beyond_k():
    weight = lambda_weights.YetiDCG(1, discount=tf.ones_like)
    with pytest.raises(ValueError, match="`discount` must be below 1 beyond rank `k`"):
        losses.pairwise_logistic(**batch_of(), lambda_weight=weight)


def test_neighbours_of_perturbed_scores():
    batch = batch_of()
    pairwise = functools.partial(
        losses.pairwise_logistic, lambda_weight=lambda_weights.YetiDCG(gains="linear")
    )
    found = losses.with_gumbel(pairwise, samples=3, seed=1)(**batch)
    copies = losses.gumbel(batch.pop("y_pred"), samples=3, seed=1)
    expected = sum(float(pairwise(**batch, y_pred=copy).total) for copy in copies)
    np.testing.assert_allclose(found.total, expected, rtol=1e-6)


@pytest.mark.parametrize("cls", [lambda_weights.NDCG, lambda_weights.DCG2])
def test_gains_may_be_weighed(cls):
    batch = batch_of()
    weigh = reference_weights.ndcg if cls is lambda_weights.NDCG else reference_weights.dcg2
    expected = 0.0
    for query in range(6):
        y, s, w = (batch[n][batch["query_ids"] == query].tolist() for n in ROWS)
        for i in range(len(y)):
            for j in range(len(y)):
                if y[i] > y[j]:
                    factor = weigh(y, s, i, j, 2, w=w)
                    expected += w[i] * w[j] * factor * np.log1p(np.exp(s[j] - s[i]))
    weight = cls(2, weigh_gains=True)
    term = losses.pairwise_logistic(**batch, lambda_weight=weight)
    np.testing.assert_allclose(term.total, expected, rtol=1e-6)


def test_ordered_pairs_are_all_ordered_pairs():
    batch = batch_of()
    term = losses.pairwise_logistic(**batch, pairs="ordered")
    _, s, ids, w = batch.values()
    total = count = 0.0
    for i in range(30):
        for j in range(30):
            if i != j and ids[i] == ids[j]:
                total += w[i] * w[j] * np.log1p(np.exp(float(s[j]) - float(s[i])))
                count += w[i] * w[j]
    np.testing.assert_allclose(term.total, total, rtol=1e-6)
    assert float(term.count) == count


def test_a_weight_of_the_first_row_is_not_that_of_both_orders():
    for weight in (lambda_weights.NDCG1(), lambda_weights.ARP1()):
        with pytest.raises(ValueError, match="`pairs` must be 'ordered' or 'preference'"):
            losses.pairwise_logistic(**batch_of(), pairs="all", lambda_weight=weight)
    with pytest.raises(ValueError, match="All ordered pairs are 'all'"):
        losses.pairwise_mean_squared_error(**batch_of(), pairs="ordered")


@pytest.mark.parametrize("weight", EVERY.values(), ids=EVERY)
def test_a_query_s_loss_depends_on_that_query_alone(weight):
    batch = {name: values.astype("float64") for name, values in batch_of().items()}
    batch["query_ids"] = batch["query_ids"].astype(int)
    parts = [
        losses.pairwise_logistic(
            **{name: values[batch["query_ids"] == query] for name, values in batch.items()},
            lambda_weight=weight[0],
        )
        for query in range(6)
    ]
    whole = losses.pairwise_logistic(**batch, lambda_weight=weight[0])
    np.testing.assert_allclose(sum(float(part.total) for part in parts), whole.total, rtol=1e-12)
    np.testing.assert_allclose(sum(float(part.count) for part in parts), whole.count, rtol=1e-12)


@pytest.mark.parametrize("weight", EVERY.values(), ids=EVERY)
def test_lambda_weights_round_trip_within_their_loss(weight):
    loss = losses.PairwiseLogistic("q", query_weight="w", lambda_weight=weight[0])
    config = keras.saving.serialize_keras_object(loss)
    again = keras.saving.deserialize_keras_object(config)
    assert type(again.options["lambda_weight"]) is type(weight[0])
    assert again.get_config() == loss.get_config()
    assert again.side_inputs == ("q", "w")


@pytest.mark.parametrize("k", [0, -1, 2.5])
def test_ranks_below_1(k):
    for weight in (lambda_weights.NDCG, lambda_weights.Precision):
        with pytest.raises(ValueError, match="`k` must be an integer of at least 1"):
            weight(k)
    with pytest.raises(ValueError, match="`k` must be an integer of at least 1"):
        lambda_weights.Precision(None)
