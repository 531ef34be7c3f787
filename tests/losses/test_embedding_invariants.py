"""What holds for every loss of labelled embeddings."""

import functools
import itertools

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.losses.check import assert_same, term_and_gradient
from tests.losses.embedding_losses import LABEL_LOSSES, Batch, embedding_batches

every_loss = pytest.mark.parametrize("loss", LABEL_LOSSES.values(), ids=LABEL_LOSSES)
few = settings(deadline=None, max_examples=5)


def run(loss, batch, **changes):
    options = batch._asdict() | changes
    y_true, y_pred = options.pop("y_true"), options.pop("y_pred")
    return term_and_gradient(lambda x: loss(y_true, x, **options), y_pred)


@every_loss
@few
@given(batch=embedding_batches())
def test_a_masked_row_is_a_removed_row(loss, batch):
    kept = np.flatnonzero(batch.mask)
    nan = np.where(batch.mask, 0.0, np.nan)
    hidden = batch._replace(y_true=batch.y_true + nan, y_pred=batch.y_pred + nan[:, None])
    total, count, gradient = run(loss, hidden)
    assert not np.delete(gradient, kept, axis=0).any()
    if len(kept):
        assert_same((total, count, gradient[kept]), run(loss, batch.of(kept), mask=None))
    else:
        assert (total, count) == (0.0, 0.0)


@every_loss
@few
@given(batch=embedding_batches(), seed=st.integers(0, 99))
def test_the_order_of_rows_does_not_matter(loss, batch, seed):
    order = np.random.default_rng(seed).permutation(len(batch.y_true))
    total, count, gradient = run(loss, batch)
    assert_same(run(loss, batch.of(order)), (total, count, gradient[order]))


@every_loss
def test_a_weight_of_two_doubles_total_and_count(loss):
    batch = example()
    total, count, gradient = run(loss, batch)
    doubled = run(loss, batch, sample_weight=2 * batch.sample_weight)
    assert_same(doubled, (2 * total, 2 * count, 2 * gradient))


@every_loss
def test_nothing_valid_is_zero(loss):
    for rows in (0, 1, 3):
        labels, mask = np.zeros(rows, int), np.arange(rows) == 0
        total, count, gradient = term_and_gradient(
            functools.partial(loss, labels, mask=mask), np.ones((rows, 2))
        )
        assert (total, count) == (0.0, 0.0)
        assert not gradient.any()


@every_loss
def test_embeddings_that_are_not_finite_are_not_hidden(loss):
    for row, bad in itertools.product(range(4), (np.nan, np.inf)):
        embeddings = np.eye(4) + 0.1
        embeddings[row, 0] = bad
        assert np.isnan(loss([0, 0, 1, 1], embeddings).total)


@every_loss
def test_equal_and_zero_embeddings_have_finite_gradients(loss):
    embeddings = np.array([[1.0, 2.0], [1.0, 2.0], [0.0, 0.0], [0.0, 0.0], [1.0, 2.0]])
    total, _, gradient = term_and_gradient(lambda x: loss([0, 0, 1, 1, 1], x), embeddings)
    assert np.isfinite(total)
    assert np.isfinite(gradient).all()


@every_loss
def test_eager_graph_of_unknown_size_and_xla_agree(loss):
    batch = example()
    expected = run(loss, batch)

    def step(y_true, y_pred, mask, sample_weight):
        with tf.GradientTape() as tape:
            tape.watch(y_pred)
            term = loss(y_true, y_pred, mask=mask, sample_weight=sample_weight)
        return *term, tape.gradient(term.total, y_pred)

    unknown = [tf.TensorSpec((None, *value.shape[1:]), value.dtype) for value in batch]
    columns = [tf.constant(value) for value in batch]
    assert_same(tf.function(step, input_signature=unknown)(*columns), expected)
    assert_same(tf.function(step, jit_compile=True)(*columns), expected)


@every_loss
def test_narrow_floats_are_computed_in_float32(loss):
    batch = example()
    for dtype in (tf.float16, tf.bfloat16):
        embeddings = tf.cast(batch.y_pred, dtype)
        narrow = loss(batch.y_true, embeddings)
        wide = loss(batch.y_true, tf.cast(embeddings, tf.float32))
        assert narrow.total.dtype == narrow.count.dtype == tf.float32
        assert float(narrow.total) == float(wide.total)


@every_loss
@few
@given(batch=embedding_batches())
def test_float32_is_float64_within_ulps(loss, batch):
    rounded = batch.y_pred.astype(np.float32)
    single = loss(batch.y_true, rounded)
    double = loss(batch.y_true, rounded.astype(np.float64))
    # Distances are taken in float64: 1 ulp. Cosines are rounded to 4 ulps of 1, and then
    # multiplied by 1 / temperature = 10 or beta = 50.
    ulps = {"multi_similarity": 200, "supervised_contrastive": 40}
    name = next(name for name in LABEL_LOSSES if LABEL_LOSSES[name] is loss)
    bound = ulps.get(name, 1) * 2.0**-23 * max(1.0, float(double.total))
    assert abs(float(single.total) - float(double.total)) <= bound


@every_loss
def test_strings_and_whole_floats_are_labels_too(loss):
    batch = example()
    expected = float(loss(batch.y_true, batch.y_pred).total)
    for labels in (batch.y_true[:, None], batch.y_true.astype(np.float32)):
        assert float(loss(labels, batch.y_pred).total) == expected
    names = np.array(["a", "b", "c"])[batch.y_true]
    assert float(loss(names, batch.y_pred).total) == expected


def test_strings_under_xla_are_refused():
    def run():
        return LABEL_LOSSES["hard"](["a", "b"], [[1.0], [2.0]]).total

    with pytest.raises(ValueError, match="`y_true` must be integers under XLA"):
        tf.function(run, jit_compile=True)()


@every_loss
def test_bad_input_is_refused(loss):
    x = np.ones((3, 2))
    refused = [
        (([0, 1, 1], x[0]), {}, "`y_pred` must have one embedding a row"),
        (([0, 1], x), {}, r"`y_true` must have one entry a row.*\(2,\) for embeddings"),
        (([np.nan, 1, 1], x), {}, "`y_true` must hold labels in every row"),
        (([0, 1, 1], x), {"mask": np.ones(2)}, "`mask` must have one entry a row"),
        (
            ([0, 1, 1], x),
            {"sample_weight": np.ones((3, 2))},
            "`sample_weight` must have one",
        ),
        (([0, 1, 1], x), {"sample_weight": [1, -1, 1]}, "`sample_weight` must be numbers"),
    ]
    for arguments, options, message in refused:
        with pytest.raises(ValueError, match=message):
            loss(*arguments, **options)
    with pytest.raises(TypeError, match="`y_true` must be integers, strings, or whole"):
        loss(np.array([0, 1, 1], np.float16), x)


def example():
    """Eight rows of three labels, one masked, with weights."""
    return Batch(
        np.array([0, 1, 0, 2, 1, 0, 2, 1]),
        np.random.default_rng(3).normal(size=(8, 3)),
        np.array([1, 1, 1, 1, 1, 0, 1, 1], bool),
        np.array([1.0, 2.0, 0.5, 1.0, 0.0, 1.0, 3.0, 1.0]),
    )
