"""Batches of ranking rows whose pairs are summed: hypothesis-made ones, and one of them."""

import numpy as np
from hypothesis import strategies as st


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
