"""What holds for every loss of ranking rows."""

import functools
import itertools

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.losses.check import assert_same, term_and_gradient
from tests.losses.rows import ROW_LOSSES, Rows, padded, row_batches

every_loss = pytest.mark.parametrize("loss", ROW_LOSSES.values(), ids=ROW_LOSSES)
few = settings(deadline=None, max_examples=5)


def run(loss, batch, **changes):
    options = batch._asdict() | changes
    y_true, y_pred = options.pop("y_true"), options.pop("y_pred")
    return term_and_gradient(lambda scores: loss(y_true, scores, **options), y_pred)


@every_loss
@few
@given(batch=row_batches(), extra=st.integers(0, 3))
def test_padded_lists_give_what_flat_rows_give_whatever_the_padding(loss, batch, extra):
    lists, places = padded(batch, extra)
    total, count, gradient = run(loss, lists, query_ids=None)
    assert not np.delete(gradient.ravel(), places).any()
    assert_same((total, count, gradient.ravel()[places]), run(loss, batch))


@every_loss
@few
@given(batch=row_batches())
def test_a_masked_row_is_a_removed_row(loss, batch):
    kept = np.flatnonzero(batch.mask)
    nan = np.where(batch.mask, 0.0, np.nan)
    hidden = batch._replace(y_true=batch.y_true + nan, y_pred=batch.y_pred + nan)
    total, count, gradient = run(loss, hidden)
    assert not np.delete(gradient, kept).any()
    if len(kept):
        removed = run(loss, batch.of(kept), mask=None)
        assert_same((total, count, gradient[kept]), removed)
    else:
        assert (total, count) == (0.0, 0.0)


@every_loss
@few
@given(batch=row_batches(distinct_labels=True), seed=st.integers(0, 99))
def test_the_order_of_rows_does_not_matter(loss, batch, seed):
    # Distinct labels: the tie rule of ListMLE is the order of the rows.
    order = np.random.default_rng(seed).permutation(len(batch.y_true))
    total, count, gradient = run(loss, batch)
    assert_same(run(loss, batch.of(order)), (total, count, gradient[order]))


@every_loss
@few
@given(batch=row_batches())
def test_a_batch_is_the_sum_of_its_queries(loss, batch):
    total, count, gradient = 0.0, 0.0, np.zeros(len(batch.y_pred))
    for query in np.unique(batch.query_ids):
        rows = np.flatnonzero(batch.query_ids == query)
        alone = run(loss, batch.of(rows))
        total, count = total + alone[0], count + alone[1]
        gradient[rows] = alone[2]
    assert_same(run(loss, batch), (total, count, gradient))


@pytest.mark.parametrize("name", ["sigmoid_crossentropy", "mean_squared_error"])
@few
@given(batch=row_batches())
def test_a_weight_of_two_is_a_row_twice(name, batch):
    twice = np.concatenate([np.arange(len(batch.y_true))] * 2)
    doubled = run(ROW_LOSSES[name], batch, sample_weight=2 * batch.sample_weight)
    total, count, gradient = run(ROW_LOSSES[name], batch.of(twice))
    assert_same(doubled, (total, count, 2 * gradient[: len(batch.y_true)]))


@every_loss
def test_a_query_weight_of_two_is_a_query_twice(loss):
    batch = example()
    other = batch._replace(query_ids=batch.query_ids + 100)
    twice = type(batch)(*(np.concatenate(pair) for pair in zip(batch, other, strict=True)))
    total, count, gradient = run(loss, twice)
    doubled = run(loss, batch, query_weight=2 * batch.query_weight)
    assert_same(doubled, (total, count, 2 * gradient[: len(batch.y_true)]))


@every_loss
def test_nothing_valid_is_zero(loss):
    for rows in (0, 3):
        nan, ids, mask = np.full(rows, np.nan), np.arange(rows), np.zeros(rows, bool)
        total, count, gradient = term_and_gradient(
            functools.partial(loss, nan, query_ids=ids, mask=mask), nan
        )
        assert (total, count) == (0.0, 0.0)
        assert not gradient.any()


@every_loss
def test_scores_that_are_not_finite_are_not_hidden(loss):
    for row, bad in itertools.product(range(3), (np.nan, np.inf, -np.inf)):
        scores = np.array([0.0, 1.0, -1.0])
        scores[row] = bad
        value = loss([2.0, 0.0, 1.0], scores, query_ids=[1, 1, 1]).value
        assert not np.isfinite(value)


@every_loss
def test_eager_graph_of_unknown_size_and_xla_agree(loss):
    batch = example()
    expected = run(loss, batch)

    def step(y_true, y_pred, query_ids, mask, sample_weight, query_weight):
        with tf.GradientTape() as tape:
            tape.watch(y_pred)
            term = loss(
                y_true,
                y_pred,
                query_ids=query_ids,
                mask=mask,
                sample_weight=sample_weight,
                query_weight=query_weight,
            )
        return *term, tape.gradient(term.total, y_pred)

    unknown = [tf.TensorSpec((None,), value.dtype) for value in batch]
    columns = [tf.constant(value) for value in batch]
    assert_same(tf.function(step, input_signature=unknown)(*columns), expected)
    assert_same(tf.function(step, jit_compile=True)(*columns), expected)


@every_loss
def test_narrow_floats_are_computed_in_float32(loss):
    batch = example()
    for dtype in (tf.float16, tf.bfloat16):
        scores = tf.cast(batch.y_pred, dtype)
        narrow = loss(batch.y_true, scores, query_ids=batch.query_ids)
        wide = loss(batch.y_true, tf.cast(scores, tf.float32), query_ids=batch.query_ids)
        assert narrow.total.dtype == narrow.count.dtype == tf.float32
        assert float(narrow.total) == float(wide.total)


@every_loss
@few
@given(batch=row_batches())
def test_float32_is_float64_within_ulps(loss, batch):
    single = loss(**batch._asdict() | {"y_pred": batch.y_pred.astype(np.float32)})
    double = loss(**batch._asdict())
    # 1 ulp, of the summed size of the queries' losses; soft ranks are taken in float32,
    # with a temperature of 0.1 that makes 2 ulps of scores up to 5 into 100 of the ranks.
    ulps = 100 if loss.__name__.startswith("approx") else 1
    bound = ulps * 2.0**-23 * max(1.0, abs(float(double.total)))
    assert abs(float(single.total) - float(double.total)) <= bound


@every_loss
def test_bad_input_is_refused(loss):
    square = np.ones((3, 3))
    with pytest.raises(ValueError, match="`sample_weight` must have the shape of the lists"):
        loss(square, square, sample_weight=np.ones(3))
    with pytest.raises(ValueError, match="`query_weight` must be one a row, shape"):
        loss([1.0, 0.0], [0.0, 0.0], query_ids=[1, 1], query_weight=[1.0])
    with pytest.raises(ValueError, match="`query_weight` must be the same for all rows"):
        loss([1.0, 0.0], [0.0, 0.0], query_ids=[1, 1], query_weight=[1.0, 2.0])
    with pytest.raises(ValueError, match="`query_weight` must be one a list"):
        loss([[1.0, 0.0]], [[0.0, 0.0]], query_weight=[[1.0, 2.0]])
    with pytest.raises(ValueError, match="`query_weight` must be numbers"):
        loss([[1.0, 0.0]], [[0.0, 0.0]], query_weight=[-1.0])
    with pytest.raises(ValueError, match=r"`normalize` must be one of .*Received: 'mean'"):
        loss([1.0], [0.0], query_ids=[1], normalize="mean")
    with pytest.raises(ValueError, match="`y_true` must hold numbers in every row"):
        loss([np.nan], [0.0], query_ids=[1])


def example():
    """Ten rows of three queries with ties, a masked row and weights."""
    query = np.array([3, 1, 3, 1, 2, 3, 1, 3, 2, 1])
    return Rows(
        np.array([1.0, 0.0, 2.0, 1.0, 0.0, 1.0, 3.0, 0.0, 0.0, 1.0]),
        np.linspace(-1, 2, 10)[[3, 1, 4, 0, 5, 9, 2, 6, 8, 7]],
        query,
        np.array([1, 1, 1, 1, 1, 1, 0, 1, 1, 1], bool),
        np.array([1.0, 2.0, 0.5, 1.0, 1.0, 0.0, 1.0, 3.0, 1.0, 1.0]),
        np.array([0.5, 1.0, 2.0])[query - 1],
    )
