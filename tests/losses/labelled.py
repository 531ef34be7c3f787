"""Hypothesis-made batches of embeddings, and the losses of labelled ones."""

import functools
from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st

from keras_trainsteps.losses.contrastive import contrastive, margin_loss
from keras_trainsteps.losses.mined_triplet import mined_triplet
from keras_trainsteps.losses.multi_similarity import multi_similarity
from keras_trainsteps.losses.supervised_contrastive import supervised_contrastive

LABEL_LOSSES = {
    "hard": functools.partial(mined_triplet, mining="hard"),
    "semihard": functools.partial(mined_triplet, mining="semihard"),
    "all": functools.partial(mined_triplet, mining="all"),
    "all soft": functools.partial(mined_triplet, mining="all", soft_margin=True),
    "contrastive": contrastive,
    "margin_loss": functools.partial(margin_loss, beta=1.2),
    "multi_similarity": multi_similarity,
    "supervised_contrastive": supervised_contrastive,
}


class Batch(NamedTuple):
    """Labelled embeddings."""

    y_true: np.ndarray
    y_pred: np.ndarray
    mask: np.ndarray
    sample_weight: np.ndarray

    def of(self, rows):
        """The rows of the given numbers, in their order."""
        return Batch(*(value[np.asarray(rows, int)] for value in self))


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
