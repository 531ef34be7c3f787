"""Batches by class and by length: what each batch holds, pass by pass."""

import functools
import itertools
import operator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_trainsteps import LossAwareModel
from keras_trainsteps.data import ByClass, ByLength, ordered_batches
from keras_trainsteps.losses import SupervisedContrastive
from keras_trainsteps.rolling import resumable_batches
from tests.toy import SUMS, X, close, network


def parts(order, seed):
    rows, ends = order.passed(np.random.default_rng(seed))
    assert ends[0] == 0
    assert ends[-1] == len(rows)
    assert len(ends) == order.batches + 1
    return [part.tolist() for part in np.split(rows, ends[1:-1])]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_batch_has_so_many_rows_of_so_many_classes_and_all_take_turns(data):
    rows_of_class = data.draw(st.integers(2, 4))
    sizes = data.draw(st.lists(st.integers(rows_of_class, 9), min_size=2, max_size=7))
    classes = data.draw(st.integers(2, len(sizes)))
    seed = data.draw(st.integers(0, 99))
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    order = ByClass(labels, classes=classes, rows=rows_of_class)
    drawn = np.zeros(len(labels), int)
    turns = np.zeros(len(sizes), int)
    for batch in parts(order, seed):
        assert len(set(batch)) == len(batch) == order.batch_rows
        found, counts = np.unique(labels[batch], return_counts=True)
        assert counts.tolist() == [rows_of_class] * classes
        turns[found] += 1
        np.add.at(drawn, batch, 1)
    assert turns.max() - turns.min() <= 1
    for label in range(len(sizes)):
        of_class = drawn[labels == label]
        assert of_class.max() - of_class.min() <= 1


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 20), min_size=1, max_size=50),
    st.integers(1, 6),
    st.integers(20, 60),
    st.integers(0, 99),
)
def test_lengths_are_sorted_into_batches_that_hold_every_row_once(lengths, size, tokens, seed):
    lengths = np.array(lengths)
    for order in (ByLength(lengths, batch_size=size), ByLength(lengths, tokens=tokens)):
        batches = parts(order, seed)
        assert sorted(functools.reduce(operator.iadd, batches, [])) == list(range(len(lengths)))
        ranges = sorted((lengths[each].min(), lengths[each].max()) for each in batches)
        assert all(one[1] <= two[0] for one, two in itertools.pairwise(ranges))
        for batch in batches:
            if order.tokens is None:
                assert len(batch) <= size
            else:
                assert len(batch) * lengths[batch].max() <= tokens


def test_epochs_differ_and_a_seed_repeats_them():
    order = ByLength(np.arange(1, 31) // 4 + 1, batch_size=4)

    def epochs(**options):
        batches = ordered_batches(np.arange(30), order=order, **options)
        return [[batch.numpy().tolist() for batch in batches] for _ in range(2)]

    assert epochs(seed=1)[0] != epochs(seed=1)[1]
    assert epochs(seed=1) == epochs(seed=1) != epochs(seed=2)
    first, second = epochs(shuffle=False)
    assert first == second


def test_a_resumable_stream_begins_anywhere_and_knows_its_order():
    labels = np.repeat(np.arange(4), 5)
    order = ByClass(labels, classes=2, rows=3)
    batches = resumable_batches(np.arange(20), labels, seed=3, order=order)
    assert batches.steps_per_epoch == order.batches == 4
    streamed = [x.numpy().tolist() for x, _ in batches.from_step(0).take(10)]
    assert streamed == [batches.rows(step).tolist() for step in range(10)]
    later = [x.numpy().tolist() for x, _ in batches.from_step(6).take(4)]
    assert later == streamed[6:]
    other = ByClass(labels, classes=2, rows=2)
    again = resumable_batches(np.arange(20), labels, seed=3, order=other)
    assert again.fingerprint != batches.fingerprint


def test_fit_has_one_shape_and_predict_the_order_of_the_arrays():
    labels = np.array([0, 0, 1, 1, 0, 1, 0, 1, 0, 1])
    by_class = ordered_batches(X, labels, order=ByClass(labels, classes=2, rows=2), seed=0)
    assert by_class.element_spec[0].shape == (4, 3)
    model = network(LossAwareModel)
    model.compile("sgd", loss=SupervisedContrastive(), run_eagerly=True)
    assert np.isfinite(model.fit(by_class, verbose=0).history["loss"]).all()
    with pytest.raises(ValueError, match="must hold every row once in `predict`"):
        model.predict(by_class, verbose=0)
    model = network(LossAwareModel)
    by_length = ordered_batches(X, order=ByLength(np.arange(1, 11)[::-1].copy(), batch_size=4))
    assert model.predict(by_length, verbose=0)[:, 0] == close(SUMS)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: ByClass([0, 0, 1], classes=2, rows=2),
            ValueError,
            "least `rows=2`.*1 .1.",
        ),
        (lambda: ByClass([0, 0], classes=2, rows=2), ValueError, "`classes` must be at most"),
        (lambda: ByClass([0, 0], classes=1, rows=2), ValueError, "`classes` must be an integer"),
        (lambda: ByClass([0.5, 0.5], classes=2, rows=2), TypeError, "`labels` must be integers"),
        (lambda: ByLength([1.0], batch_size=2), TypeError, "`lengths` must be integers"),
        (lambda: ByLength([0, 1], batch_size=2), ValueError, "`lengths` must be at least 1"),
        (lambda: ByLength([1, 2]), ValueError, "`batch_size` or `tokens` must be given"),
        (lambda: ByLength([1, 7], tokens=6), ValueError, "at least the longest row.*one has 7"),
        (
            lambda: ordered_batches(np.ones(3), order=ByLength([1, 2], batch_size=1)),
            ValueError,
            "`order` must be of the rows of the arrays",
        ),
        (
            lambda: resumable_batches(
                np.ones(2), seed=1, batch_size=2, order=ByLength([1, 2], batch_size=1)
            ),
            ValueError,
            "`order` says what a batch is",
        ),
    ],
)
def test_bad_input(make, error, message):
    with pytest.raises(error, match=message):
        make()
