"""Batches by class, by length and with negatives: what they hold, seeds, resuming, refusals."""

import itertools

import keras
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from keras_trainsteps import LossAwareModel
from keras_trainsteps.data import ByClass, ByLength, WithNegatives, ordered_batches
from keras_trainsteps.rolling import resumable_batches

LABELS = np.repeat(np.arange(6), [4, 7, 9, 4, 30, 5])
LENGTHS = np.random.default_rng(0).integers(1, 40, 57)
CANDIDATES = np.array([[(i + j) % 9 if i < 7 else -1 for j in (1, 2, 3)] for i in range(9)])


def orders():
    return {
        "class": ByClass(LABELS, classes=3, rows_per_class=2),
        "length": ByLength(LENGTHS, tokens=120, width=4),
        "negatives": WithNegatives(CANDIDATES, number=2, batch_size=3),
    }


def batches_of(order, seed=0):
    rows, ends = order.drawn(np.random.default_rng(seed))
    assert (ends[0], ends[-1], len(ends)) == (0, len(rows), order.batches + 1)
    return [rows[begin:end] for begin, end in itertools.pairwise(ends)]


@given(
    sizes=st.lists(st.integers(2, 40), min_size=2, max_size=12),
    classes=st.integers(2, 5),
    rows_per_class=st.integers(2, 4),
    seed=st.integers(0, 999),
)
def test_a_batch_has_so_many_rows_of_so_many_classes(sizes, classes, rows_per_class, seed):
    assume(len(sizes) >= classes and min(sizes) >= rows_per_class)
    labels = np.repeat([f"c{i}" for i in range(len(sizes))], sizes)
    labels = labels[np.random.default_rng(seed).permutation(len(labels))]
    order = ByClass(labels, classes=classes, rows_per_class=rows_per_class)
    found = batches_of(order, seed)
    for batch in found:
        in_groups = labels[batch].reshape(classes, rows_per_class)
        assert (in_groups == in_groups[:, :1]).all()
        assert len(set(in_groups[:, 0].tolist())) == classes
    rows = np.concatenate(found)
    assert len(set(rows.tolist())) == len(rows)
    groups = [size // rows_per_class for size in sizes]
    possible = [
        number
        for number in range(1, sum(groups) + 1)
        if sum(min(group, number) for group in groups) >= classes * number
    ]
    assert order.batches == max(possible)


def test_over_passes_all_rows_and_all_pairs_of_classes_come():
    labels = np.repeat(np.arange(8), 5)
    order = ByClass(labels, classes=2, rows_per_class=2)
    batches = [batch for seed in range(60) for batch in batches_of(order, seed)]
    assert {row for batch in batches for row in batch} == set(range(40))
    assert len({frozenset(labels[batch].tolist()) for batch in batches}) == 8 * 7 // 2


@given(
    lengths=st.lists(st.integers(0, 30), min_size=1, max_size=60),
    batch_size=st.one_of(st.none(), st.integers(1, 20)),
    tokens=st.one_of(st.none(), st.integers(1, 200)),
    width=st.integers(1, 9),
)
def test_batches_by_length_keep_their_limits_and_have_each_row_once(
    lengths, batch_size, tokens, width
):
    assume(batch_size is not None or tokens is not None)
    assume(tokens is None or tokens >= max(lengths))
    lengths = np.array(lengths)
    order = ByLength(lengths, batch_size=batch_size, tokens=tokens, width=width)
    found = batches_of(order)
    assert sorted(np.concatenate(found).tolist()) == list(range(len(lengths)))
    rounded = np.minimum(-(-lengths // width) * width, max(lengths))
    for batch in found:
        assert len(batch) <= (batch_size or len(lengths))
        assert tokens is None or len(batch) * rounded[batch].max() <= tokens
    ranges = sorted((rounded[batch].min(), rounded[batch].max()) for batch in found)
    assert all(low[1] <= high[0] for low, high in itertools.pairwise(ranges))


def test_each_anchor_comes_once_with_other_candidates_of_its_own():
    order = orders()["negatives"]
    groups = np.concatenate(batches_of(order)).reshape(-1, 3)
    assert sorted(groups[:, 0].tolist()) == list(range(7))
    for anchor, *negatives in groups.tolist():
        assert len(set(negatives)) == 2
        assert set(negatives) <= set(CANDIDATES[anchor].tolist())
    assert [len(batch) for batch in batches_of(order)] == [9, 9, 3]


@pytest.mark.parametrize("name", ["class", "length", "negatives"])
def test_a_seed_repeats_epochs_that_differ_and_a_stream_goes_on_anywhere(name):
    order = orders()[name]
    x = {"row": np.arange(order.rows)}

    def epochs():
        data = ordered_batches(x, order=order, seed=5)
        assert len(data) == order.batches
        return [[batch["row"].numpy().tolist() for batch in data] for _ in range(2)]

    first, again = epochs(), epochs()
    assert first == again
    assert first[0] != first[1]

    stream = resumable_batches(x, order=order, seed=3)
    assert stream.steps_per_epoch == order.batches
    steps = order.batches + 2
    whole = [b["row"].numpy().tolist() for b in stream.from_step(0).take(steps)]
    rest = [b["row"].numpy().tolist() for b in stream.from_step(steps - 3).take(3)]
    assert rest == whole[-3:] == [stream.rows(i).tolist() for i in range(steps - 3, steps)]


def test_another_order_is_other_data_for_a_resumed_job():
    x = np.arange(len(LABELS))
    made = [
        resumable_batches(x, order=ByClass(LABELS, classes=c, rows_per_class=k), seed=1)
        for c, k in ((2, 2), (3, 2), (2, 3), (2, 2))
    ]
    assert len({batches.fingerprint for batches in made}) == 3


def test_predict_has_the_order_of_the_arrays_or_is_refused():
    model = LossAwareModel(*[keras.Input((1,))] * 2)
    found = orders()
    x = np.arange(57.0)[:, None]
    np.testing.assert_array_equal(
        model.predict(ordered_batches(x, order=found["length"]), verbose=0), x
    )
    with pytest.raises(ValueError, match=r"hold each row once in `predict`.*`ordered_batches`"):
        model.predict(ordered_batches(x[:9], order=found["negatives"]), verbose=0)


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (
            lambda: ByClass(["a"] * 3 + ["b"], classes=2, rows_per_class=2),
            ValueError,
            r"`rows_per_class=2` rows or more.*Received: 1 of class 'b', and 0 other",
        ),
        (
            lambda: ByClass([1, 1, 1], classes=2, rows_per_class=2),
            ValueError,
            r"`classes=2` classes or more. Received: 1\.",
        ),
        (lambda: ByClass([1, 2], classes=1, rows_per_class=2), ValueError, "`classes` must be"),
        (lambda: ByClass([1, 2], classes=2, rows_per_class=1), ValueError, "`rows_per_class`"),
        (lambda: ByClass([1.0, 2.0], classes=2, rows_per_class=2), TypeError, "`labels` must"),
        (
            lambda: ByLength([3, 9, 2], tokens=8),
            ValueError,
            r"`tokens` must be at least.*Received: 8, where row 1 has 9\.",
        ),
        (lambda: ByLength([3]), ValueError, "`batch_size` or `tokens` must"),
        (lambda: ByLength([3], batch_size=0), ValueError, "`batch_size` must be an integer"),
        (lambda: ByLength([3, -1], batch_size=2), ValueError, "at least 0 for each row.*-1"),
        (lambda: ByLength([3.0], batch_size=2), TypeError, "`lengths` must be integers"),
        (
            lambda: WithNegatives([[1], [2]], number=1, batch_size=1),
            ValueError,
            "of 0 to 1.*Received: 2 for row 1, which is no row",
        ),
        (
            lambda: WithNegatives([[1], [1]], number=1, batch_size=1),
            ValueError,
            "Received: 1 for row 1, the row itself",
        ),
        (
            lambda: WithNegatives([[1, 1], [0, -1]], number=1, batch_size=1),
            ValueError,
            "Received: 1 for row 0, twice",
        ),
        (
            lambda: WithNegatives([[1, -1], [-1, -1]], number=2, batch_size=1),
            ValueError,
            "Received: 1 for row 0, and 0 other rows with too few",
        ),
        (lambda: WithNegatives([[-1]], number=1, batch_size=1), ValueError, "-1 only"),
        (lambda: WithNegatives([1], number=1, batch_size=1), ValueError, r"shape \(1,\)"),
        (lambda: WithNegatives([[0.5]], number=1, batch_size=1), TypeError, "`candidates` must"),
        (
            lambda: ordered_batches(np.ones(3), order=ByLength([1, 2], batch_size=1)),
            ValueError,
            "one of 2 rows for 3",
        ),
        (lambda: ordered_batches(np.ones(3), order="class"), TypeError, "`order` must be a"),
        (
            lambda: resumable_batches(
                np.ones(2), order=ByLength([1, 2], batch_size=1), batch_size=2, seed=1
            ),
            ValueError,
            "`order` must come without",
        ),
    ],
)
def test_bad_input(make, error, match):
    with pytest.raises(error, match=match):
        make()
