"""The pair sums against plain loops: every kernel, option and way of running."""

import functools
import inspect

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_trainsteps import pairs as kts_pairs
from keras_trainsteps.pairs import (
    HINGE,
    LOGISTIC,
    SOFT_ZERO_ONE,
    SQUARED_ERROR,
    SQUARED_HINGE,
    PairFactor,
    pair_sums,
)
from tests.reference import pairs as reference

ROWS = 24  # hypothesis batches are filled up to this with rows of no query
PREFERENCE = [
    (kernel, "preference")
    for kernel in (LOGISTIC, HINGE, SQUARED_HINGE, SQUARED_ERROR, SOFT_ZERO_ONE)
]
RULES = [*PREFERENCE, (LOGISTIC, "all"), (SQUARED_ERROR, "all")]
RULE_IDS = [f"{kernel.name.lower()}-{pairs}" for kernel, pairs in RULES]
by_rule = pytest.mark.parametrize(("kernel", "pairs"), RULES, ids=RULE_IDS)
# A rule takes seconds to compile, and some time to trace.
BY_DEFAULT = {
    "graph": [(LOGISTIC, "preference"), (SQUARED_ERROR, "all"), (HINGE, "preference")],
    "xla": [(HINGE, "preference")],
}
some_rules = pytest.mark.parametrize(
    ("kernel", "pairs"),
    [
        pytest.param(
            *rule, id=name, marks=() if rule in BY_DEFAULT["graph"] else pytest.mark.slow
        )
        for rule, name in zip(RULES, RULE_IDS, strict=True)
    ],
)
by_rule_and_mode = pytest.mark.parametrize(
    ("kernel", "pairs", "mode"),
    [
        pytest.param(
            *rule,
            mode,
            id=f"{mode}-{name}",
            marks=pytest.mark.slow if mode != "eager" and rule not in BY_DEFAULT[mode] else (),
        )
        for mode in ("eager", "graph", "xla")
        for rule, name in zip(RULES, RULE_IDS, strict=True)
    ],
)


def totals_counts_gradient(kernel, y_true, y_pred, query, num_queries, **options):
    with tf.GradientTape() as tape:
        tape.watch(y_pred)
        totals, counts = pair_sums(kernel, y_true, y_pred, query, num_queries, **options)
        total = tf.reduce_sum(totals)
    return totals, counts, tape.gradient(total, y_pred)


@functools.cache
def runner(kernel, pairs, pair_weight, dtype, mode, method="auto", most=ROWS):
    """One traced function for all batches of a kind, under XLA of at most so many rows."""

    def run(y_true, y_pred, query, num_queries, row_weight):
        return totals_counts_gradient(
            kernel,
            y_true,
            y_pred,
            query,
            num_queries,
            pairs=pairs,
            row_weight=row_weight,
            pair_weight=pair_weight,
            method=method,
        )

    if mode != "eager":
        rows = most if mode == "xla" else None
        floats = tf.TensorSpec([rows], dtype)
        ints = tf.TensorSpec([rows], tf.int32)
        number = tf.TensorSpec([], tf.int32)
        run = tf.function(
            run,
            input_signature=[floats, floats, ints, number, floats],
            jit_compile=mode == "xla",
        )

    def on_arrays(y_true, y_pred, query, num_queries, row_weight=None):
        if row_weight is None:
            row_weight = np.ones(len(query))
        if mode == "xla":
            missing = most - len(query)
            y_true, y_pred, row_weight = (
                np.pad(x, (0, missing)) for x in (y_true, y_pred, row_weight)
            )
            query = np.pad(query, (0, missing), constant_values=-1)
        totals, counts, gradient = run(
            tf.constant(y_true, dtype),
            tf.constant(y_pred, dtype),
            tf.constant(query, tf.int32),
            tf.constant(most if mode == "xla" else num_queries),
            tf.constant(row_weight, dtype),
        )
        if mode == "xla":
            assert not np.any(totals[num_queries:])
            totals, counts = totals[:num_queries], counts[:num_queries]
            gradient = gradient[: most - missing]
        return [x.numpy().astype(np.float64) for x in (totals, counts, gradient)]

    return on_arrays


def assert_equal_sums(got, expected, dtype=np.float32, ulps=4):
    """Equal to within units in the last place of the sums of magnitudes."""
    totals, counts, gradient = got
    tolerance = ulps * np.finfo(dtype).eps
    tiny = np.finfo(dtype).tiny  # what lies below is flushed to 0
    assert np.all(np.abs(totals - expected.totals) <= tolerance * expected.totals + tiny)
    assert np.all(np.abs(counts - expected.counts) <= tolerance * expected.counts)
    errors = np.abs(gradient - expected.gradient)
    assert np.all(errors <= tolerance * expected.magnitude + tiny)


@st.composite
def batches(draw):
    """Rows with ties, huge and tiny scores, single-row queries and masked rows."""
    rows = draw(st.integers(0, ROWS))
    score = st.one_of(
        st.integers(-3, 3).map(float),
        st.floats(-1e4, 1e4, width=32, allow_subnormal=False),
        st.floats(-1, 1, width=32, allow_subnormal=False),
    )
    real = st.floats(-2, 2, width=32, allow_subnormal=False)  # TensorFlow has none
    label = st.one_of(st.integers(0, 4).map(float), real)
    of_rows = functools.partial(st.lists, min_size=rows, max_size=rows)
    num_queries = draw(st.integers(1, 5))
    y_true = draw(of_rows(label))
    y_pred = draw(of_rows(score))
    query = draw(of_rows(st.integers(-1, num_queries - 1)))
    weight = draw(of_rows(st.sampled_from([0.0, 0.5, 1.0, 3.0])))
    floats = [np.asarray(x, np.float32) for x in (y_true, y_pred, weight)]
    return *floats, np.asarray(query, np.int32), num_queries


@by_rule
@pytest.mark.parametrize(
    ("pair_weight", "mode"),
    [
        ("product", "graph"),
        pytest.param("preferred", "graph", marks=pytest.mark.slow),
        # The tests below run it for some kernels by default.
        pytest.param("product", "xla", marks=pytest.mark.slow),
    ],
)
@given(batch=batches())
def test_equals_plain_loops(kernel, pairs, pair_weight, mode, batch):
    y_true, y_pred, weight, query, number = batch
    run = runner(kernel, pairs, pair_weight, tf.float32, mode)
    expected = reference.pair_sums(
        kernel.name,
        y_true,
        y_pred,
        query,
        number,
        pairs=pairs,
        row_weight=weight,
        pair_weight=pair_weight,
    )
    assert_equal_sums(run(y_true, y_pred, query, number, weight), expected)


@by_rule
@settings(max_examples=5)
@given(batch=batches())
def test_eager_equals_plain_loops(kernel, pairs, batch):
    y_true, y_pred, weight, query, number = batch
    run = runner(kernel, pairs, "product", tf.float32, "eager")
    expected = reference.pair_sums(
        kernel.name, y_true, y_pred, query, number, pairs=pairs, row_weight=weight
    )
    assert_equal_sums(run(y_true, y_pred, query, number, weight), expected)


@some_rules
def test_float64_reaches_float64(kernel, pairs):
    rng = np.random.default_rng(0)
    y_true, y_pred = rng.integers(0, 4, 60), rng.normal(size=60) * 5
    query = rng.integers(0, 3, 60)
    run = runner(kernel, pairs, "product", tf.float64, "graph")
    expected = reference.pair_sums(kernel.name, y_true, y_pred, query, 3, pairs=pairs)
    got = run(y_true, y_pred, query, 3)
    assert_equal_sums(got, expected, np.float64, ulps=64)


@some_rules
def test_gradient_is_the_slope_of_the_totals(kernel, pairs):
    rng = np.random.default_rng(1)
    y_true, y_pred = rng.integers(0, 4, 12), rng.normal(size=12)
    query = rng.integers(0, 2, 12)
    run = runner(kernel, pairs, "product", tf.float64, "graph")
    _, _, gradient = run(y_true, y_pred, query, 2)
    step = 1e-6
    for row in range(12):
        moved = step * np.eye(12)[row]
        up, down = (run(y_true, y_pred + m, query, 2)[0].sum() for m in (moved, -moved))
        assert gradient[row] == pytest.approx((up - down) / (2 * step), abs=1e-7)


def test_upstream_gradient_is_by_query():
    y_pred = tf.constant([0.3, -0.2, 0.7, 0.1])
    y_true, query = tf.constant([1.0, 0.0, 0.0, 1.0]), tf.constant([0, 0, 1, 1])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(y_pred)
        totals, _ = pair_sums(LOGISTIC, y_true, y_pred, query, 2)
        once, weighted = tf.reduce_sum(totals), 2.0 * totals[0] - 3.0 * totals[1]
    once, weighted = tape.gradient(once, y_pred), tape.gradient(weighted, y_pred)
    np.testing.assert_allclose(weighted, once * [2.0, 2.0, -3.0, -3.0], rtol=1e-6)


def test_upstream_gradient_that_is_not_a_number_stays_out_of_masked_rows():
    y_pred = tf.constant([0.3, -0.2, 0.7])
    with tf.GradientTape() as tape:
        tape.watch(y_pred)
        totals, _ = pair_sums(
            LOGISTIC, tf.constant([1.0, 0.0, 0.0]), y_pred, tf.constant([0, 0, -1]), 1
        )
        total = tf.reduce_sum(totals) * float("nan")
    gradient = tape.gradient(total, y_pred).numpy()
    assert np.isnan(gradient[:2]).all()
    assert gradient[2] == 0


@by_rule_and_mode
def test_no_pair_is_exactly_zero(kernel, pairs, mode):
    run = runner(kernel, pairs, "product", tf.float32, mode)
    scores = np.asarray([1e4, -3.3, 0.1], np.float32)
    for rows in range(4):
        for values in run(np.arange(rows), scores[:rows], np.arange(rows), 3):
            assert not values.any()
    for values in run(np.arange(3), scores, np.full(3, -1), 1):
        assert not values.any()


@by_rule_and_mode
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite_show_in_their_query_alone(kernel, pairs, mode, bad):
    run = runner(kernel, pairs, "product", tf.float32, mode)
    y_true, query = np.asarray([1, 0, 1, 0, 1.0]), np.asarray([0, 0, 1, 1, 2])
    y_pred = np.asarray([0.5, bad, 0.1, 0.9, bad])
    totals, counts, gradient = run(y_true, y_pred, query, 3)
    clean = run(y_true, np.where(np.isfinite(y_pred), y_pred, 0), query, 3)
    # Also that of a single row, which is no pair: the network's gradient is NaN all the same.
    np.testing.assert_array_equal(np.isnan(totals), [True, False, True])
    np.testing.assert_array_equal(np.isnan(gradient), [True, True, False, False, True])
    assert totals[1] == clean[0][1]
    np.testing.assert_array_equal(counts, clean[1])
    np.testing.assert_array_equal(gradient[2:4], clean[2][2:4])


@pytest.mark.parametrize("mode", ["graph", "xla"])
def test_a_second_derivative_is_refused(mode):
    @tf.function(jit_compile=mode == "xla")
    def second(y_pred):
        with tf.GradientTape() as outer:
            outer.watch(y_pred)
            with tf.GradientTape() as inner:
                inner.watch(y_pred)
                y_true, query = tf.constant([1.0, 0.0]), tf.constant([0, 0])
                totals, _ = pair_sums(LOGISTIC, y_true, y_pred, query, 2)
            squared = tf.reduce_sum(inner.gradient(totals, y_pred) ** 2)
        return outer.gradient(squared, y_pred)

    with pytest.raises(NotImplementedError, match="first derivative only"):
        second(tf.constant([0.0, 1.0]))


@pytest.mark.parametrize("pairs", ["preference", "all"])
@pytest.mark.parametrize("mode", ["eager", "graph", pytest.param("xla", marks=pytest.mark.slow)])
def test_pair_factor_multiplies_terms_and_not_counts(pairs, mode):
    rng = np.random.default_rng(2)
    y_true = rng.integers(0, 3, 14).astype(np.float32)
    y_pred, gain = rng.normal(size=(2, 14)).astype(np.float32)
    query = rng.integers(-1, 2, 14).astype(np.int32)

    def run(y_pred, gain):
        factor = PairFactor(lambda i, j: tf.abs(i["gain"] - j["gain"]), {"gain": gain})
        options = {"pairs": pairs, "pair_factor": factor}
        return totals_counts_gradient(LOGISTIC, y_true, y_pred, query, 14, **options)

    if mode != "eager":
        run = tf.function(run, jit_compile=mode == "xla")
    got = run(tf.constant(y_pred), tf.constant(gain))
    expected = reference.pair_sums(
        "LOGISTIC",
        y_true,
        y_pred,
        query,
        14,
        pairs=pairs,
        factor=lambda i, j: abs(float(gain[i]) - float(gain[j])),
    )
    assert_equal_sums([x.numpy().astype(np.float64) for x in got], expected)


@pytest.mark.parametrize("kernel", [HINGE, SQUARED_HINGE, SOFT_ZERO_ONE])
def test_kernels_without_ties_refuse_all_pairs(kernel):
    rows = tf.zeros((2,))
    with pytest.raises(ValueError, match="`pairs` must be 'preference'"):
        pair_sums(kernel, rows, rows, tf.zeros((2,), tf.int32), 1, pairs="all")


@pytest.mark.parametrize("name", ["pairs", "pair_weight", "method"])
def test_unknown_options_are_refused(name):
    rows = tf.zeros((2,))
    with pytest.raises(ValueError, match=f"`{name}` must be one of .* Received: 'both'"):
        pair_sums(LOGISTIC, rows, rows, tf.zeros((2,), tf.int32), 1, **{name: "both"})


@pytest.mark.parametrize(
    ("kernel", "dtype", "options"),
    [
        (HINGE, tf.float64, {}),
        (
            SQUARED_ERROR,
            tf.float32,
            {"pairs": "all", "row_weight": True, "pair_weight": "preferred"},
        ),
        (LOGISTIC, tf.float32, {"pair_factor": PairFactor(lambda i, j: 1.0, {})}),
    ],
)
def test_linear_is_refused_where_there_is_no_linear_method(kernel, dtype, options):
    rows = tf.zeros((2,), dtype)
    if "row_weight" in options:
        options = options | {"row_weight": rows}
    with pytest.raises(ValueError, match="`method` must be 'auto' or 'exact'"):
        pair_sums(kernel, rows, rows, tf.zeros((2,), tf.int32), 1, method="linear", **options)


def test_new_batch_sizes_do_not_retrace():
    traces = []

    @tf.function(reduce_retracing=True)
    def run(y_true, y_pred, query):
        traces.append(y_pred.shape)
        return totals_counts_gradient(LOGISTIC, y_true, y_pred, query, 3)

    for rows in (4, 7, 9, 300, 0, 1):
        zeros = tf.zeros((rows,))
        run(zeros, zeros, tf.zeros((rows,), tf.int32))
    assert len(traces) == 2  # the first size, then any size


def test_public_names():
    public = [name for name in vars(kts_pairs) if not name.startswith("_")]
    public = sorted(name for name in public if not inspect.ismodule(getattr(kts_pairs, name)))
    assert public == [
        "HINGE",
        "LOGISTIC",
        "PairFactor",
        "PairKernel",
        "SOFT_ZERO_ONE",
        "SQUARED_ERROR",
        "SQUARED_HINGE",
        "pair_sums",
    ]
