"""Every pairwise loss, lambda weight and query weight against plain loops."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings

from keras_trainsteps import losses
from keras_trainsteps.losses import lambda_weights
from tests.losses.pairs import batch_of, batches
from tests.reference import lambda_weights as reference_weights
from tests.reference.pairwise import pairwise

ULP = np.finfo("float32").eps
KINDS = {
    "hinge": (losses.pairwise_hinge, "HINGE", {}),
    "squared_hinge": (losses.pairwise_squared_hinge, "SQUARED_HINGE", {}),
    "soft_zero_one": (losses.pairwise_soft_zero_one, "SOFT_ZERO_ONE", {}),
    "mean_squared_error": (
        losses.pairwise_mean_squared_error,
        "SQUARED_ERROR",
        {"pairs": "all"},
    ),
    "logistic": (losses.pairwise_logistic, "LOGISTIC", {}),
}
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


def traced(function, **options):
    @tf.function(reduce_retracing=True)
    def run(y_true, y_pred, query_ids, mask, sample_weight):
        with tf.GradientTape() as tape:
            tape.watch(y_pred)
            term = function(
                y_true,
                y_pred,
                query_ids=query_ids,
                mask=mask,
                sample_weight=sample_weight,
                query_weight=1 + tf.cast(query_ids % 3, y_pred.dtype),
                **options,
            )
        return term.total, term.count, tape.gradient(term.total, y_pred)

    def vector(dtype):
        return tf.TensorSpec([None], dtype)

    specs = ("float64", "float64", "int64", "bool", "float64")
    return run.get_concrete_function(*map(vector, specs))


def assert_equals_reference(run, kernel, batch, **options):
    total, count, gradient = run(*map(tf.constant, batch.values()))
    expected = pairwise(
        kernel,
        batch["y_true"],
        batch["y_pred"],
        batch["query_ids"],
        batch["mask"],
        batch["sample_weight"],
        query_weight=1 + batch["query_ids"] % 3,
        **options,
    )
    tiny = np.finfo("float64").tiny
    assert abs(float(total) - expected[0]) <= 1e-12 * abs(expected[0]) + tiny
    assert abs(float(count) - expected[1]) <= 1e-12 * expected[1]
    assert (abs(gradient.numpy() - expected[2]) <= 1e-12 * expected[3] + tiny).all()


@pytest.mark.parametrize("normalize", ["pairs", "queries", "rows"])
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_every_kind_equals_plain_loops(kind, normalize):
    function, kernel, options = kind
    run = traced(function, normalize=normalize)

    @settings(max_examples=15)
    @given(batches("float64"))
    def check(batch):
        assert_equals_reference(run, kernel, batch, normalize=normalize, **options)

    check()


@pytest.mark.parametrize("weight", LAMBDAS.values(), ids=LAMBDAS)
def test_lambda_weights_equal_plain_formulas(weight):
    lambda_weight, reference, options = weight
    run = traced(losses.pairwise_logistic, lambda_weight=lambda_weight)

    @settings(max_examples=15)
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


def test_xla_agrees():
    batch = {name: tf.constant(values) for name, values in batch_of().items()}
    for function, *_ in KINDS.values():
        run = functools.partial(function, **batch, lambda_weight=lambda_weights.NDCG(3))
        eager, compiled = run(), tf.function(run, jit_compile=True)()
        np.testing.assert_allclose(compiled.total, eager.total, rtol=4 * ULP)


@pytest.mark.parametrize("k", [0, -1, 2.5])
def test_ranks_below_1(k):
    for weight in (lambda_weights.NDCG, lambda_weights.Precision):
        with pytest.raises(ValueError, match="`k` must be an integer of at least 1"):
            weight(k)
    with pytest.raises(ValueError, match="`k` must be an integer of at least 1"):
        lambda_weights.Precision(None)


def test_query_weights_that_do_not_fit():
    batch = batch_of()
    with pytest.raises(ValueError, match="`query_weight` must be one a row"):
        losses.pairwise_hinge(**batch, query_weight=np.ones(6))
    with pytest.raises(ValueError, match="must be the same for all rows of a query"):
        losses.pairwise_hinge(**batch, query_weight=np.arange(30.0))


def test_weights_of_lists_are_one_a_list():
    lists = np.array([[2.0, 0.0, 1.0], [1.0, 0.0, 5.0]]), np.zeros((2, 3))
    weighted = losses.pairwise_hinge(*lists, query_weight=[1.0, 3.0])
    assert float(weighted.total) == 3 * 1 + 3 * 3
    with pytest.raises(ValueError, match="`query_weight` must be one a list"):
        losses.pairwise_hinge(*lists, query_weight=np.ones((2, 3)))
