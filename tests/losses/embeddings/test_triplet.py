import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from keras_trainsteps.losses.embeddings.mined_triplet import mined_triplet
from keras_trainsteps.losses.embeddings.triplet import triplet
from tests.losses.check import assert_same, term_and_gradient
from tests.losses.labelled import DISTANCES, embedding_batches, margins
from tests.reference import embeddings as reference
from tests.reference.complex_step import gradient


@given(
    batch=embedding_batches(copies=3),
    distance=st.sampled_from(DISTANCES),
    margin=st.sampled_from([0.1, 1.0, None]),
    normalize=st.sampled_from(["triplets", "active"]),
)
def test_triplet_is_that_of_plain_loops(batch, distance, margin, normalize):
    _, x, mask, weight = batch

    def plain(x):
        return reference.triplet(
            x, mask, weight, distance_kind=distance, margin=margin, normalize=normalize
        )

    result = term_and_gradient(
        lambda x: triplet(
            *tf.unstack(x),
            distance=distance,
            mask=mask,
            sample_weight=weight,
            normalize=normalize,
            **margins(margin),
        ),
        x,
    )
    assert_same(result, (*plain(x), gradient(lambda x: plain(x)[0], x)))


def test_the_seeds_formula():
    # loss = max(0, m + cos(q, wrong) - cos(q, right)), m = 0.1
    q, right, wrong = np.random.default_rng(0).normal(size=(3, 5, 4))

    def cos(a, b):
        return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)

    expected = np.maximum(0, 0.1 + cos(q, wrong) - cos(q, right)).mean()
    np.testing.assert_allclose(triplet(q, right, wrong).value, expected, rtol=1e-12)


def test_cosines_of_tiny_and_huge_vectors():
    a, p, n = np.random.default_rng(0).normal(size=(3, 4, 3)).astype(np.float32)
    expected = float(triplet(a, p, n, margin=2.0).total)
    for scale in (1e-30, 1e30):
        scaled = triplet(a * np.float32(scale), p, n, margin=2.0)
        assert float(scaled.total) == pytest.approx(expected, rel=1e-6)


def test_nothing_valid_is_zero_and_nan_is_not_hidden():
    x = np.full((2, 3), np.nan)
    total, count, slope = term_and_gradient(
        lambda a: triplet(a, x, x, mask=[False, False], normalize="active"), x
    )
    assert (total, count) == (0.0, 0.0)
    assert not slope.any()
    for distance in DISTANCES:
        assert np.isnan(triplet(x, x, x, distance=distance, normalize="active").value)


def test_bad_options_are_refused():
    x = np.ones((3, 2))
    for options, message in (
        ({"margin": 0.0}, "`margin` must be a finite number above 0. Received: 0.0"),
        ({"margin": 0.2, "soft_margin": True}, "`margin` must be left out"),
        ({"distance": "l2"}, "`distance` must be one of"),
        ({"normalize": "rows"}, "`normalize` must be one of"),
    ):
        with pytest.raises(ValueError, match=message):
            triplet(x, x, x, **options)
        with pytest.raises(ValueError, match=message):
            mined_triplet([0, 0, 1], x, **options)
    with pytest.raises(ValueError, match="`mining` must be one of"):
        mined_triplet([0, 0, 1], x, mining="easy")
    with pytest.raises(ValueError, match="`negative` must have the shape and dtype"):
        triplet(x, x, x[:2])
    with pytest.raises(ValueError, match="`positive` must have one embedding per row"):
        triplet(x, x[0], x)
