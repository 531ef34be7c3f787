"""Batches of ranking rows whose pairs are summed, and what their sums must be."""

import numpy as np
import tensorflow as tf
from hypothesis import strategies as st

from tests.reference.pairwise import pairwise


def by_examples(test):
    """For a test that runs hypothesis within: `-m slow` runs it again, on more examples."""
    test.by_examples = True
    return test


@st.composite
def batches(draw, dtype="float32"):
    """Labels with ties, scores from equal to huge, few or many queries, masks, weights."""
    rows = draw(st.integers(1, 24))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    scale = draw(st.sampled_from([0.0, 1e-3, 1.0, 30.0, 1e4]))
    return {
        "y_true": rng.integers(0, draw(st.integers(1, 5)), size=rows).astype(dtype),
        "y_pred": (scale * rng.normal(size=rows)).astype(dtype),
        "query_ids": rng.integers(0, draw(st.integers(1, 8)), size=rows) + 2**50,
        "mask": rng.random(rows) < draw(st.sampled_from([0.0, 0.5, 1.0])),
        "sample_weight": rng.integers(0, 4, size=rows).astype(dtype) / 2,
    }


def batch_of(rows=30, seed=3):
    rng = np.random.default_rng(seed)
    return {
        "y_true": rng.integers(0, 3, size=rows).astype("float32"),
        "y_pred": rng.normal(size=rows).astype("float32"),
        "query_ids": rng.integers(0, 6, size=rows),
        "sample_weight": rng.integers(1, 4, size=rows).astype("float32"),
    }


def traced(function, **options):
    @tf.function(reduce_retracing=True)
    def run(y_true, y_pred, query_ids, mask, sample_weight):
        with tf.GradientTape() as tape:
            tape.watch(y_pred)
            term = function(
                y_true,
                y_pred,
                query_ids=query_ids,
                mask=mask,
                sample_weight=sample_weight,
                query_weight=1 + tf.cast(query_ids % 3, y_pred.dtype),
                **options,
            )
        return term.total, term.count, tape.gradient(term.total, y_pred)

    def vector(dtype):
        return tf.TensorSpec([None], dtype)

    specs = ("float64", "float64", "int64", "bool", "float64")
    return run.get_concrete_function(*map(vector, specs))


def assert_equals_reference(run, kernel, batch, **options):
    total, count, gradient = run(*map(tf.constant, batch.values()))
    expected = pairwise(
        kernel,
        batch["y_true"],
        batch["y_pred"],
        batch["query_ids"],
        batch["mask"],
        batch["sample_weight"],
        query_weight=1 + batch["query_ids"] % 3,
        **options,
    )
    tiny = np.finfo("float64").tiny
    assert abs(float(total) - expected[0]) <= 1e-12 * abs(expected[0]) + tiny
    assert abs(float(count) - expected[1]) <= 1e-12 * expected[1]
    assert (abs(gradient.numpy() - expected[2]) <= 1e-12 * expected[3] + tiny).all()
