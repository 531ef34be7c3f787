import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from keras_trainsteps.losses.ranking import pointwise
from tests.losses.check import assert_same, term_and_gradient
from tests.losses.rows import row_batches
from tests.reference import pointwise as reference
from tests.reference.complex_step import gradient
from tests.reference.listwise import over_queries

LOSSES = [pointwise.sigmoid_crossentropy, pointwise.mean_squared_error]


@pytest.mark.parametrize("loss", LOSSES)
@given(batch=row_batches(), normalize=st.sampled_from(["rows", "queries"]))
def test_value_and_gradient_are_those_of_plain_loops(loss, batch, normalize):
    plain = getattr(reference, loss.__name__)

    def total(scores):
        y, _, *rest = batch
        mean = normalize == "queries"
        return over_queries(plain, y, scores, *rest, normalize, mean=mean)

    result = term_and_gradient(
        lambda s: loss(**batch._asdict() | {"y_pred": s}, normalize=normalize), batch.y_pred
    )
    expected = (*total(batch.y_pred), gradient(lambda s: total(s)[0], batch.y_pred))
    assert_same(result, expected)


@pytest.mark.parametrize("loss", LOSSES)
def test_rows_need_no_query(loss):
    y_true, y_pred = np.array([1.0, 0.0, 1.0]), np.array([0.5, 2.0, -1.0])
    alone = loss(y_true, y_pred)
    beside = loss(y_true, y_pred[:, None], query_ids=[1, 1, 2])
    np.testing.assert_allclose(alone.total, beside.total, rtol=1e-14)
    assert float(alone.count) == float(beside.count) == 3.0


@pytest.mark.parametrize("loss", LOSSES)
def test_queries_of_flat_rows_need_ids(loss):
    with pytest.raises(ValueError, match="`query_ids` must be given for flat rows"):
        loss([1.0], [0.0], normalize="queries")


def test_extreme_logits_are_exact():
    term = pointwise.sigmoid_crossentropy([1.0, 0.0], tf.constant([-1000.0, 1000.0]))
    assert float(term.total) == 2000.0
