"""Hypothesis-made batches of labelled embeddings."""

from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st

DISTANCES = ["cosine", "euclidean", "squared_euclidean"]


class Batch(NamedTuple):
    """Labelled embeddings."""

    y_true: np.ndarray
    y_pred: np.ndarray
    mask: np.ndarray
    sample_weight: np.ndarray


@st.composite
def embedding_batches(draw, copies=1):
    """Up to 7 rows of 3 labels; normal embeddings, so that no two distances are equal."""
    n = draw(st.integers(1, 7))
    seed = draw(st.integers(0, 2**32 - 1))

    def column(values):
        return np.array(draw(st.lists(values, min_size=n, max_size=n)))

    shape = (n, 3) if copies == 1 else (copies, n, 3)
    scale = draw(st.sampled_from([0.3, 1.0]))
    return Batch(
        column(st.integers(0, 2)),
        scale * np.random.default_rng(seed).normal(size=shape),
        column(st.sampled_from([True, True, True, False])),
        column(st.sampled_from([0.0, 0.5, 1.0, 2.5])),
    )


def margins(margin):
    """The options of a margin, or of the soft one for `None`."""
    return {"soft_margin": True} if margin is None else {"margin": margin}
