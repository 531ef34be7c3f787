import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from keras_trainsteps.losses.ranking import approximate
from tests.losses.check import assert_same, term_and_gradient
from tests.losses.rows import row_batches
from tests.reference import listwise as reference
from tests.reference.complex_step import gradient

LOSSES = [approximate.approx_ndcg, approximate.approx_mrr]


@pytest.mark.parametrize("loss", LOSSES)
@given(
    batch=row_batches(),
    normalize=st.sampled_from(["queries", "lists", "rows"]),
    temperature=st.sampled_from([0.1, 1.0]),
)
def test_value_and_gradient_are_those_of_plain_loops(loss, batch, normalize, temperature):
    plain = getattr(reference, loss.__name__)

    def total(scores):
        y, _, *rest = batch
        return reference.over_queries(plain, y, scores, *rest, normalize, temperature=temperature)

    result = term_and_gradient(
        lambda s: loss(
            **batch._asdict() | {"y_pred": s}, normalize=normalize, temperature=temperature
        ),
        batch.y_pred,
    )
    expected = (*total(batch.y_pred), gradient(lambda s: total(s)[0], batch.y_pred))
    assert_same(result, expected)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_sharp_temperature_is_the_metric_itself(loss):
    y_true, scores = np.array([[0.0, 2.0, 1.0]]), np.array([[3.0, 2.0, 1.0]])
    term = loss(y_true, scores, temperature=1e-3)
    if loss is approximate.approx_ndcg:
        best = 3 + 1 / np.log2(3)
        expected = (3 / np.log2(3) + 1 / np.log2(4)) / best
    else:
        expected = (2 / 3) / 2 + (1 / 3) / 3
    np.testing.assert_allclose(term.value, -expected, rtol=1e-14)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_second_derivative_raises(loss):
    scores = tf.constant([0.5, 0.0])
    with tf.GradientTape() as outer:
        outer.watch(scores)
        with tf.GradientTape() as inner:
            inner.watch(scores)
            value = loss([1.0, 0.0], scores, query_ids=[1, 1]).value
        slope = tf.reduce_sum(inner.gradient(value, scores) ** 2)
    with pytest.raises(NotImplementedError, match="first derivative only"):
        outer.gradient(slope, scores)


@pytest.mark.parametrize("loss", LOSSES)
def test_bad_temperatures_and_labels_are_refused(loss):
    for temperature in (0, -1.0, np.nan, np.inf, "warm"):
        with pytest.raises(ValueError, match="`temperature` must be a finite number above"):
            loss([1.0], [0.0], query_ids=[1], temperature=temperature)
    with pytest.raises(ValueError, match=r"`y_true` must not be negative.*`mask`"):
        loss([[1.0, -1.0]], [[0.0, 0.0]])
