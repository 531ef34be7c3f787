"""What holds for every loss, over one list of them all."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_trainsteps import losses
from keras_trainsteps.step.terms import LossTerm, QueryTerm
from tests.losses.check import assert_same
from tests.losses.every_loss import (
    CLASSES,
    every,
    example,
    few_or_many,
    hidden,
    one_of_each,
    rows_of,
    select,
    some_to_compile,
)
from tests.losses.rows import Rows, padded


def check(case, examples, holds, *more):
    """Runs `holds` on hypothesis-made batches of a loss."""
    settings(deadline=None, max_examples=examples)(given(case.batches, *more)(holds))()


def by_query(case):
    return case.of == "queries"


@few_or_many(by_query)
def test_padded_lists_give_what_flat_rows_give_whatever_the_padding(case, examples):
    def holds(batch, extra):
        lists, places = padded(Rows(**batch), extra)
        columns = lists._asdict()
        del columns["query_ids"]
        total, count, gradient = case.run(columns)
        assert not np.delete(gradient.ravel(), places).any()
        assert_same((total, count, gradient.ravel()[places]), case.run(batch))

    check(case, examples, holds, st.integers(0, 3))


@few_or_many()
def test_a_masked_row_is_a_removed_row_whatever_it_holds(case, examples):
    def holds(batch):
        kept = batch["mask"].reshape(rows_of(batch), -1).any(1)
        total, count, gradient = case.run(hidden(case, batch, kept))
        assert not gradient[~kept].any()
        if kept.any():
            removed = case.run(select(batch, np.flatnonzero(kept)))
            assert_same((total, count, gradient[kept]), removed)
        else:
            assert (total, count) == (0.0, 0.0)

    check(case, examples, holds)


@few_or_many()
def test_more_padding_changes_nothing(case, examples):
    def holds(batch, extra):
        rows = rows_of(batch)
        longer = select(batch, [*range(rows), *[0] * extra])
        longer["mask"][rows:] = False
        kept = np.arange(rows + extra) < rows
        total, count, gradient = case.run(hidden(case, longer, kept))
        assert not gradient[rows:].any()
        assert_same((total, count, gradient[:rows]), case.run(batch))

    check(case, examples, holds, st.integers(1, 3))


@few_or_many()
def test_the_order_of_rows_does_not_matter(case, examples):
    def holds(batch, seed):
        order = np.random.default_rng(seed).permutation(rows_of(batch))
        total, count, gradient = case.run(batch)
        assert_same(case.run(select(batch, order)), (total, count, gradient[order]))

    check(case, examples, holds, st.integers(0, 99))


@few_or_many(lambda case: case.adds_up)
def test_a_batch_is_the_sum_of_its_parts(case, examples):
    def holds(batch):
        part = batch.get("query_ids", np.arange(rows_of(batch)))
        whole = case.run(batch)
        total, count, gradient = 0.0, 0.0, np.zeros_like(whole[2])
        for which in np.unique(part):
            rows = np.flatnonzero(part == which)
            alone = case.run(select(batch, rows))
            total, count = total + alone[0], count + alone[1]
            gradient[rows] = alone[2]
        assert_same(whole, (total, count, gradient))

    check(case, examples, holds)


@few_or_many(lambda case: case.frequency)
def test_a_weight_of_two_is_a_row_twice(case, examples):
    def holds(batch):
        rows = np.arange(rows_of(batch))
        doubled = case.run(batch | {"sample_weight": 2 * batch["sample_weight"]})
        total, count, gradient = case.run(select(batch, [*rows, *rows]))
        assert_same(doubled, (total, count, 2 * gradient[: len(rows)]))

    check(case, examples, holds)


@every(lambda case: case.of in ("labels", "outputs"))
def test_a_weight_of_two_doubles_an_anchor(case):
    batch = example(case)
    doubled = case.run(batch | {"sample_weight": 2 * batch["sample_weight"]})
    assert_same(doubled, [2 * part for part in case.run(batch)])


@every(by_query)
def test_a_query_weight_of_two_is_a_query_twice(case):
    batch = example(case)
    other = batch | {"query_ids": batch["query_ids"] + 100}
    twice = {name: np.concatenate([batch[name], other[name]]) for name in batch}
    total, count, gradient = case.run(twice)
    doubled = case.run(batch | {"query_weight": 2 * batch["query_weight"]})
    assert_same(doubled, (total, count, 2 * gradient[:10]))


@every(default=one_of_each)
def test_nothing_valid_is_zero(case):
    for rows in (0, 3):
        batch = select(example(case), range(rows))
        batch["mask"] = np.zeros_like(batch["mask"])
        total, count, gradient = case.run(hidden(case, batch, np.zeros(rows, bool)))
        assert (total, count) == (0.0, 0.0)
        assert not gradient.any()


@every(default=one_of_each)
def test_what_is_not_finite_is_not_hidden(case):
    for row, bad in ((0, np.nan), (2, np.inf), (7, -np.inf)):
        for name in case.takes:
            batch = {key: value.copy() for key, value in example(case).items()}
            batch["mask"][:], batch["sample_weight"][:] = True, 1.0
            if case.of == "sequences" and bad == -np.inf:
                batch["y_true"][row, 0] = 0  # any other class may well be impossible
            batch[name].reshape(10, -1)[row, 0] = bad
            assert not np.isfinite(case.term(batch).value)


@pytest.mark.slow
@every(default=some_to_compile)
def test_eager_graph_of_unknown_size_and_xla_agree(case):
    batch = example(case)
    expected = case.run(batch)
    unknown = {
        name: tf.TensorSpec((None, *value.shape[1:]), value.dtype)
        for name, value in batch.items()
    }
    tensors = {name: tf.constant(value) for name, value in batch.items()}
    assert_same(tf.function(case.traced, input_signature=[unknown])(tensors), expected)
    for signature in (None, [unknown]):
        compiled = tf.function(case.traced, jit_compile=True, input_signature=signature)
        assert_same(compiled(tensors), expected)


@pytest.mark.slow
@every(by_query, default=one_of_each)
@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("spec", [(None, None), (None, 5)], ids=["any", "rows"])
def test_padded_lists_of_sizes_that_tracing_does_not_know(case, jit_compile, spec):
    rng = np.random.default_rng(0)
    y_true = rng.integers(0, 3, (8, 5)).astype("float32")
    y_pred = rng.normal(size=(8, 5)).astype("float32")
    mask = np.arange(5) < rng.integers(2, 6, 8)[:, None]

    def value(y_true, y_pred, mask):
        return case.function(y_true, y_pred, mask=mask, **case.options).value

    signature = [tf.TensorSpec(spec, dtype) for dtype in ("float32", "float32", "bool")]
    traced = tf.function(value, input_signature=signature, jit_compile=jit_compile)
    expected = float(value(y_true, y_pred, mask))
    assert float(traced(y_true, y_pred, mask)) == pytest.approx(expected, rel=1e-5)


@every(default=one_of_each)
def test_narrow_floats_are_computed_in_float32(case):
    batch = example(case)
    for dtype in (tf.float16, tf.bfloat16):
        narrow = batch | {name: tf.cast(batch[name], dtype) for name in case.takes}
        wide = batch | {name: tf.cast(narrow[name], tf.float32) for name in case.takes}
        term = case.term(narrow)
        assert term.total.dtype == term.count.dtype == tf.float32
        assert float(term.total) == float(case.term(wide).total)


@few_or_many()
def test_float32_is_float64_within_ulps(case, examples):
    def holds(batch):
        single = batch | {name: batch[name].astype(np.float32) for name in case.takes}
        double = batch | {name: single[name].astype(np.float64) for name in case.takes}
        sizes = [1.0, 1.0, 1.0]
        if case.of in ("labels", "outputs"):  # slopes of cosines are divided by lengths
            sizes[2] /= min(np.linalg.norm(double[name], axis=1).min() for name in case.takes)
        for narrow, wide, size in zip(case.run(single), case.run(double), sizes, strict=True):
            size = np.abs(wide).max(initial=max(1.0, size))
            assert np.abs(narrow - wide).max(initial=0.0) <= case.ulps * 2.0**-23 * size

    check(case, examples, holds)


@every(lambda case: case.of != "sequences", default=one_of_each)
def test_bad_masks_and_weights_are_refused(case):
    batch = example(case)
    refused = [
        ({"mask": np.ones(9, bool)}, "must have one entry a row"),
        ({"sample_weight": np.ones(9)}, "must have one entry a row"),
        ({"sample_weight": np.ones((10, 2))}, "`sample_weight` must have one entry a row"),
        ({"sample_weight": np.full(10, np.nan)}, "`sample_weight` must be numbers"),
        ({case.takes[0]: np.ones((10, 2, 2))}, f"`{case.takes[0]}` must have one e"),
    ]
    for change, message in refused:
        with pytest.raises(ValueError, match=message):
            case.term(batch | change)


@every(by_query)
def test_bad_queries_and_lists_are_refused(case):
    batch, square = example(case), np.ones((3, 3))
    for change, message in (
        ({"y_true": np.ones(9)}, "must have one entry a row each"),
        ({"query_ids": np.ones((10, 2), int)}, "`query_ids` must have one entry a row"),
        ({"query_weight": np.ones(9)}, "`query_weight` must be one a row"),
        ({"query_weight": np.arange(10.0)}, "`query_weight` must be the same for all rows"),
        ({"query_weight": -np.ones(10)}, "`query_weight` must be numbers"),
    ):
        with pytest.raises(ValueError, match=message):
            case.term(batch | change)
    for change, message in (
        ({"sample_weight": np.ones(3)}, "`sample_weight` must have the shape of the lists"),
        ({"mask": np.ones(3, bool)}, "`mask` must have the shape of the lists"),
        ({"query_weight": np.ones((3, 2))}, "`query_weight` must be one a list"),
    ):
        with pytest.raises(ValueError, match=message):
            case.term({"y_true": square, "y_pred": square, **change})
    with pytest.raises(TypeError, match="`query_ids` must be integers or strings"):
        case.term(batch | {"query_ids": np.ones(10)})
    with pytest.raises(ValueError, match="`normalize` must be one of"):
        case.function(**batch, **case.options | {"normalize": "mean"})


@pytest.mark.slow
@every(by_query)
def test_strings_are_ids_but_not_under_xla(case):
    batch = example(case)
    named = batch | {"query_ids": np.array(["", "a", "b", "c"])[batch["query_ids"]]}
    assert_same(case.run(named), case.run(batch))
    with pytest.raises(ValueError, match="`query_ids` must be integers under XLA"):
        tf.function(lambda: case.term(named).total, jit_compile=True)()


@pytest.mark.slow
@every(default=some_to_compile)
def test_bad_values_are_refused_in_a_graph_and_not_hidden_under_xla(case):
    broken = [("sample_weight", -1.0), *[("y_true", bad) for bad in bad_labels(case)]]

    def value(batch):
        return case.term(batch).value

    in_graph, in_xla = tf.function(value), tf.function(value, jit_compile=True)
    for name, bad in broken:
        batch = example(case)
        if case.of == "labels":
            batch["y_true"] = batch["y_true"].astype(np.float64)
        batch["mask"][:] = True
        batch[name].reshape(10, -1)[0, 0] = bad
        tensors = {key: tf.constant(value) for key, value in batch.items()}
        with pytest.raises(tf.errors.InvalidArgumentError, match=f"trainsteps: `{name}` mu"):
            in_graph(tensors)
        assert np.isnan(in_xla(tensors))
        with pytest.raises(ValueError, match=rf"`{name}` must .*Received: a \w+ of {bad}"):
            case.term(batch)
        batch["mask"][0] = False  # of the first row
        if name == "y_true":
            assert np.isfinite(case.term(batch).value)


def bad_labels(case):
    takes_gains = (losses.softmax, losses.unique_softmax, losses.approx_ndcg, losses.approx_mrr)
    if case.of == "sequences":
        return [-1, CLASSES]
    if case.function in takes_gains or "lambda_weight" in case.options:
        return [np.nan, -1.0]
    return [] if case.of == "outputs" else [np.nan]


@pytest.mark.slow
@every(by_query)
def test_which_terms_compare_rows(case):
    batch = example(case)
    compares = "pointwise" not in case.function.__module__
    for scale in (1.0, 2.0):
        term = case.term(batch) * scale
        assert isinstance(term, QueryTerm) == compares
        if compares:
            np.testing.assert_array_equal(term.query_sizes, [0, 3])
    both = case.term(batch) + case.term(batch)
    assert isinstance(both, QueryTerm) == compares
    assert not isinstance(case.term(batch) + LossTerm(1.0, 1.0), QueryTerm)
    if compares:
        np.testing.assert_array_equal(both.query_sizes, [0, 6])
        lone = case.term(batch | {"query_ids": np.arange(10), "query_weight": np.ones(10)})
        np.testing.assert_array_equal(lone.query_sizes, [9, 0])


@every(lambda case: case.of == "labels")
def test_strings_and_whole_floats_are_labels_too(case):
    batch = example(case)
    expected = float(case.term(batch).total)
    labels = batch["y_true"]
    for same in (labels[:, None], labels.astype(np.float32), np.array(["a", "b", "c"])[labels]):
        assert float(case.term(batch | {"y_true": same}).total) == expected
    named = batch | {"y_true": np.array(["a", "b", "c"])[labels]}
    with pytest.raises(ValueError, match="`y_true` must be integers under XLA"):
        tf.function(lambda: case.term(named).total, jit_compile=True)()
    with pytest.raises(TypeError, match="`y_true` must be integers, strings, or whole"):
        case.term(batch | {"y_true": labels.astype(np.float16)})


@every(lambda case: case.of == "labels")
def test_equal_and_zero_embeddings_have_finite_gradients(case):
    embeddings = np.array([[1.0, 2.0], [1.0, 2.0], [0.0, 0.0], [0.0, 0.0], [1.0, 2.0]])
    total, _, gradient = case.run({"y_true": np.array([0, 0, 1, 1, 1]), "y_pred": embeddings})
    assert np.isfinite(total)
    assert np.isfinite(gradient).all()
