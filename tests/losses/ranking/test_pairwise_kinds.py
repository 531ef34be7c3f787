"""Every pairwise loss and query weight against plain loops."""

import functools

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given

from keras_trainsteps import losses
from keras_trainsteps.losses import lambda_weights
from tests.losses.pairs import assert_equals_reference, batch_of, batches, by_examples, traced

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


# Kinds and divisors do not know of each other: each kind has one of them by default.
DIVISORS = ("pairs", "queries", "rows")
COMBINED = [
    pytest.param(
        kind,
        divisor,
        id=f"{name}-{divisor}",
        marks=() if (number - place) % 3 == 0 else pytest.mark.slow,
    )
    for number, (name, kind) in enumerate(KINDS.items())
    for place, divisor in enumerate(DIVISORS)
]


@by_examples
@pytest.mark.parametrize(("kind", "normalize"), COMBINED)
def test_every_kind_equals_plain_loops(kind, normalize):
    function, kernel, options = kind
    run = traced(function, normalize=normalize)

    @given(batches("float64"))
    def check(batch):
        assert_equals_reference(run, kernel, batch, normalize=normalize, **options)

    check()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_xla_agrees(kind):
    batch = {name: tf.constant(values) for name, values in batch_of().items()}
    run = functools.partial(kind[0], **batch, lambda_weight=lambda_weights.NDCG(3))
    eager, compiled = run(), tf.function(run, jit_compile=True)()
    np.testing.assert_allclose(compiled.total, eager.total, rtol=4 * ULP)


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
