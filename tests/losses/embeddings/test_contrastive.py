import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from keras_trainsteps.losses.embeddings.contrastive import contrastive, margin_loss
from tests.losses.check import assert_same, term_and_gradient
from tests.losses.labelled import embedding_batches
from tests.reference import embeddings as reference
from tests.reference.complex_step import gradient

distances = st.sampled_from(["cosine", "euclidean", "squared_euclidean"])
normalizes = st.sampled_from(["pairs", "active"])


@given(
    batch=embedding_batches(),
    distance=distances,
    margin=st.sampled_from([0.5, 2.0]),
    normalize=normalizes,
)
def test_contrastive_is_that_of_plain_loops(batch, distance, margin, normalize):
    labels, x, mask, weight = batch
    options = {"margin": margin, "normalize": normalize}

    def plain(x):
        return reference.contrastive(x, labels, mask, weight, distance_kind=distance, **options)

    result = term_and_gradient(
        lambda x: contrastive(
            labels, x, distance=distance, mask=mask, sample_weight=weight, **options
        ),
        x,
    )
    assert_same(result, (*plain(x), gradient(lambda x: plain(x)[0], x)))


@given(batch=embedding_batches(), distance=distances, normalize=normalizes)
def test_margin_loss_and_its_boundaries_are_those_of_plain_loops(batch, distance, normalize):
    labels, x, mask, weight = batch
    boundaries = np.array([0.9, 1.2, 1.5])
    options = {"margin": 0.2, "normalize": normalize}

    def plain(x, boundaries):
        beta = boundaries[labels]
        return reference.margin_loss(
            x, labels, mask, weight, beta=beta, distance_kind=distance, **options
        )

    def loss(x, boundaries):
        return margin_loss(
            labels,
            x,
            beta=tf.gather(boundaries, labels),
            distance=distance,
            mask=mask,
            sample_weight=weight,
            **options,
        )

    slope = gradient(lambda x: plain(x, boundaries)[0], x)
    result = term_and_gradient(lambda x: loss(x, boundaries), x)
    assert_same(result, (*plain(x, boundaries), slope))
    slope = gradient(lambda b: plain(x, b)[0], boundaries)
    result = term_and_gradient(lambda b: loss(x, b), boundaries)
    assert_same(result, (*plain(x, boundaries), slope))


def test_distances_do_not_suffer_from_a_common_offset():
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    moved = x + np.float32(2.0**10)
    labels = [0, 0, 1, 1, 2]
    near = contrastive(labels, (moved - np.float32(2.0**10)).astype(np.float32))
    assert float(contrastive(labels, moved).total) == pytest.approx(float(near.total), rel=1e-6)


def test_a_single_boundary_is_trained_through_all_anchors():
    beta = tf.Variable(1.2)
    x = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    labels = [0, 0, 1, 1, 2, 2]
    with tf.GradientTape() as tape:
        total = margin_loss(labels, x, beta=beta).total
    slope = float(tape.gradient(total, beta))
    ends = [float(margin_loss(labels, x, beta=1.2 + e).total) for e in (-1e-3, 1e-3)]
    assert slope == pytest.approx((ends[1] - ends[0]) / 2e-3, abs=1e-2)


def test_python_numbers_are_not_rounded_to_float32():
    x = np.random.default_rng(0).normal(size=(4, 3))
    labels, weights = [0, 0, 1, 1], [0.1, 0.2, 0.3, 0.7]
    python = margin_loss(labels, x, beta=1.2, sample_weight=weights)
    arrays = margin_loss(labels, x, beta=np.float64(1.2), sample_weight=np.array(weights))
    assert float(python.total) == float(arrays.total)
    assert float(python.count) == float(arrays.count)


def test_bad_options_are_refused():
    labels, x = [0, 0, 1], np.ones((3, 2))
    with pytest.raises(ValueError, match="`margin` must be a finite number above 0"):
        contrastive(labels, x, margin=0.0)
    with pytest.raises(ValueError, match="`margin` must be a finite number above 0"):
        margin_loss(labels, x, beta=1.0, margin=-1.0)
    with pytest.raises(ValueError, match=r"`beta` must be one number.*\(2,\) for 3 rows"):
        margin_loss(labels, x, beta=[1.0, 2.0])
    for loss in (contrastive, lambda *a, **k: margin_loss(*a, beta=1.0, **k)):
        with pytest.raises(ValueError, match="`distance` must be one of"):
            loss(labels, x, distance="l2")
        with pytest.raises(ValueError, match="`normalize` must be one of"):
            loss(labels, x, normalize="rows")
