"""Every lambda weight against plain formulas, and within a saved loss."""

import keras
import numpy as np
import pytest
from hypothesis import given

from keras_trainsteps import losses
from keras_trainsteps.losses import lambda_weights
from tests.losses.pairs import assert_equals_reference, batch_of, batches, by_examples, traced
from tests.reference import lambda_weights as reference_weights

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
}


FOR_ALL_RANKS = ("dcg", "ndcg", "ndcg2")


@by_examples
@pytest.mark.parametrize(
    "weight",
    [
        pytest.param(weight, id=name, marks=pytest.mark.slow if name in FOR_ALL_RANKS else ())
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


@pytest.mark.parametrize("weight", LAMBDAS.values(), ids=LAMBDAS)
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


@pytest.mark.parametrize("weight", LAMBDAS.values(), ids=LAMBDAS)
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
