"""`pairwise_logistic` against plain loops, and what must not change its value."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given

from keras_trainsteps.losses import pairwise_logistic
from tests.losses.pairs import batch_of, batches, by_examples
from tests.reference.pairwise import pairwise

ULP = np.finfo("float32").eps

OPTIONS = [
    {},
    {"pairs": "all"},
    {"pairs": "all", "normalize": "queries", "temperature": 0.5},
    {"normalize": "queries"},
    {"normalize": "rows", "temperature": 2.0, "epsilon": 1e-3},
    {"pair_weight": "preferred"},
    {"pair_weight": "preferred", "pairs": "all", "normalize": "rows"},
]


def graph_of(options, with_mask, with_weight, dtype):
    """One traced function for every batch: lengths are unknown to it."""

    @tf.function(reduce_retracing=True)
    def run(y_true, y_pred, query_ids, mask, sample_weight):
        with tf.GradientTape() as tape:
            tape.watch(y_pred)
            term = pairwise_logistic(
                y_true,
                y_pred,
                query_ids=query_ids,
                mask=mask if with_mask else None,
                sample_weight=sample_weight if with_weight else None,
                **options,
            )
        return term.total, term.count, tape.gradient(term.total, y_pred)

    vector = tf.TensorSpec([None], dtype)
    ids, mask = tf.TensorSpec([None], tf.int64), tf.TensorSpec([None], tf.bool)
    return run.get_concrete_function(vector, vector, ids, mask, vector)


# Each takes seconds to trace: by default each option is in one of them.
BY_DEFAULT = [
    (OPTIONS[0], False, "float32"),
    *((OPTIONS[number], True, "float64") for number in (0, 2, 4, 6)),
]
VARIANTS = [
    pytest.param(
        options,
        masked,
        dtype,
        id=f"{options}-{'masked' if masked else 'plain'}-{dtype}",
        marks=() if (options, masked, dtype) in BY_DEFAULT else pytest.mark.slow,
    )
    for options in OPTIONS
    for masked in (False, True)
    for dtype in ("float32", "float64")
]


@by_examples
@pytest.mark.parametrize(("options", "masked", "dtype"), VARIANTS)
def test_value_and_gradient_equal_plain_loops(options, masked, dtype):
    run = graph_of(options, masked, masked, dtype)
    ulps = 4 * ULP if dtype == "float32" else 1e-12

    @given(batches(dtype))
    def check(batch):
        total, count, gradient = run(*map(tf.constant, batch.values()))
        expected = pairwise(
            "LOGISTIC",
            batch["y_true"],
            batch["y_pred"],
            batch["query_ids"],
            batch["mask"] if masked else None,
            batch["sample_weight"] if masked else None,
            **options,
        )
        tiny = np.finfo(dtype).tiny  # below it numbers round to 0
        assert abs(float(total) - expected[0]) <= ulps * expected[0] + tiny
        assert abs(float(count) - expected[1]) <= ulps * expected[1]
        assert (abs(gradient.numpy() - expected[2]) <= ulps * expected[3] + tiny).all()

    check()


def value_of(batch, **options):
    return pairwise_logistic(**batch, **options)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize(
    "batch",
    [
        {"y_true": [], "y_pred": [], "query_ids": np.zeros(0, int)},
        {"y_true": [1.0, 0.0], "y_pred": [0.1, 0.2], "query_ids": [0, 1]},
        {
            "y_true": [1.0, 0.0],
            "y_pred": [0.1, 0.2],
            "query_ids": [0, 0],
            "mask": [False] * 2,
        },
    ],
    ids=["empty", "single rows", "all masked"],
)
def test_no_pair_gives_0_with_a_gradient_of_0(batch, options):
    scores = tf.constant(batch["y_pred"], tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(scores)
        term = pairwise_logistic(**{**batch, "y_pred": scores}, **options)
        value = term.value
    assert float(value) == 0.0
    assert float(term.total) == 0.0
    assert (tape.gradient(value, scores).numpy() == 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_eager_graph_and_xla_agree(options):
    batch = {name: tf.constant(values) for name, values in batch_of().items()}
    found = []
    for wrap in (
        lambda function: function,
        tf.function,
        lambda function: tf.function(function, jit_compile=True),
    ):
        term = wrap(lambda: value_of(batch, **options))()
        found.append((float(term.total), float(term.count)))
    np.testing.assert_allclose(found[1], found[0], rtol=4 * ULP)
    np.testing.assert_allclose(found[2], found[0], rtol=4 * ULP)


def test_rows_of_one_column_are_rows():
    batch = batch_of()
    columns = {name: values[:, None] for name, values in batch.items()}
    assert float(value_of(columns).value) == float(value_of(batch).value)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"query_ids": None}, "`y_true` must be padded lists"),
        ({"y_true": np.zeros((30, 2), "float32")}, "`y_true` must have one entry a row"),
        ({"query_ids": np.zeros(29, int)}, "must have one entry a row each"),
        ({"mask": np.ones(29, bool)}, "must have one entry a row each"),
    ],
)
def test_shapes_that_do_not_fit(change, match):
    with pytest.raises(ValueError, match=match):
        value_of({**batch_of(), **change})
