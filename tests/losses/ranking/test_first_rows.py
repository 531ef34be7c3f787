"""`pair_weight="first"`: over all ordered pairs each row's weight counts where it comes first."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given

from keras_trainsteps import losses
from keras_trainsteps.losses import lambda_weights
from tests.losses.pairs import assert_equals_reference, batch_of, batches, by_examples, traced
from tests.reference import lambda_weights as reference_weights

FIRST = {"pairs": "all", "pair_weight": "first"}
OPTIONS = [
    ("SQUARED_ERROR", losses.pairwise_mean_squared_error, {}),
    ("LOGISTIC", losses.pairwise_logistic, {"normalize": "queries"}),
]


def eager(function, **options):
    def run(*columns):
        y_true, y_pred, query_ids, mask, sample_weight = columns
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

    return run


@given(batch=batches("float64"))
def test_value_and_gradient_equal_plain_loops(batch):
    for kernel, function, options in OPTIONS:
        run = eager(function, **FIRST, **options)
        assert_equals_reference(run, kernel, batch, **FIRST, **options)


@pytest.mark.slow
@by_examples
def test_lambda_weights_multiply_it():
    weight = lambda_weights.LabelDifference()
    run = traced(losses.pairwise_mean_squared_error, **FIRST, lambda_weight=weight)

    @given(batches("float64"))
    def check(batch):
        factor = reference_weights.label_difference
        assert_equals_reference(run, "SQUARED_ERROR", batch, **FIRST, factor=factor)

    check()


def test_the_examples_of_tf_ranking():
    # Of losses_impl_test.py, test_pairwise_mse_loss_should_handle_per_{example,list}_weights.
    y, s = [[0.0, 0.0, 1.0], [0.0, 0.0, 2.0]], [[1.0, 3.0, 2.0], [1.0, 2.0, 3.0]]
    first = np.square([(2 - 3) - (1 - 0), (2 - 1) - (1 - 0), (3 - 1) - (0 - 0)])
    second = np.square([(3 - 2) - (2 - 0), (3 - 1) - (2 - 0), (2 - 1) - (0 - 0)])
    for weights, of_first, of_second, count in (
        ([[1.0, 1.0, 2.0], [1.0, 1.0, 1.0]], [3, 3, 2], [2, 2, 2], 8 + 6),
        ([[1.0] * 3, [2.0] * 3], [2, 2, 2], [4, 4, 4], 6 + 12),
    ):
        term = losses.pairwise_mean_squared_error(
            y, s, sample_weight=weights, pair_weight="first"
        )
        assert float(term.total) == np.dot(of_first, first) + np.dot(of_second, second)
        assert float(term.count) == count


@pytest.mark.parametrize("pairs", ["preference", "ordered"])
def test_elsewhere_the_first_row_is_the_preferred_one(pairs):
    found, expected = (
        losses.pairwise_logistic(**batch_of(), pairs=pairs, pair_weight=pair_weight)
        for pair_weight in ("first", "preferred")
    )
    assert float(found.total) == float(expected.total)
    assert float(found.count) == float(expected.count)


def test_without_weights_it_is_the_product():
    batch = batch_of()
    del batch["sample_weight"]
    found, expected = (
        losses.pairwise_mean_squared_error(**batch, pair_weight=pair_weight)
        for pair_weight in ("first", "product")
    )
    assert float(found.total) == float(expected.total)


def test_a_linear_method_is_refused():
    with pytest.raises(ValueError, match="`method` must be 'auto' or 'exact' for all pairs with"):
        losses.pairwise_mean_squared_error(**batch_of(), pair_weight="first", method="linear")


@pytest.mark.slow
def test_eager_and_xla_agree():
    batch = {name: tf.constant(values) for name, values in batch_of().items()}

    def value():
        return losses.pairwise_mean_squared_error(**batch, pair_weight="first").value

    compiled = tf.function(value, jit_compile=True)
    np.testing.assert_allclose(compiled(), value(), rtol=1e-6)
