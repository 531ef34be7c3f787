"""The sorted hinge knows when rounding spoils it."""

import numpy as np
import tensorflow as tf

from keras_trainsteps.pairs.hinge import HingeSums
from keras_trainsteps.pairs.levels import Levels


def sums_of(scores, levels, squared):
    scores, levels = np.asarray(scores, np.float64), np.asarray(levels, np.int32)
    weights = tf.constant(np.bincount(levels, minlength=2)[None], tf.float64)
    group = tf.zeros(len(levels), tf.int32)
    levels = tf.constant(levels)
    return HingeSums(squared)(
        Levels(tf.constant(scores), None, levels, group, levels, weights, None)
    )


def test_hand_computed():
    # (1.0 over 0.5): 1 - 0.5; (1.0 over -1.0): none; (0.2 over 0.5): 1.3; over -1.0: none
    totals, slope, failed = sums_of([1.0, 0.2, 0.5, -1.0], [1, 1, 0, 0], squared=False)
    np.testing.assert_allclose(totals, [0.5 + 1.3], rtol=1e-15)
    np.testing.assert_array_equal(slope, [-1, -1, 2, 0])
    assert not failed[0]
    totals, slope, _ = sums_of([1.0, 0.2, 0.5, -1.0], [1, 1, 0, 0], squared=True)
    np.testing.assert_allclose(totals, [0.5**2 + 1.3**2], rtol=1e-14)
    np.testing.assert_allclose(slope, [-1, -2.6, 3.6, 0], rtol=1e-14)


def test_a_margin_lost_in_rounding_is_reported():
    far = np.linspace(-1e12, -1e3, 50)
    scores = np.concatenate([far, [0.0, 1.0 - 1e-6]])
    levels = np.concatenate([np.zeros(50), [0, 1]])
    assert sums_of(scores, levels, squared=True)[2][0]


def test_no_pair_within_the_margin_is_exactly_zero():
    rng = np.random.default_rng(0)
    levels = rng.integers(0, 2, 200)
    totals, slope, failed = sums_of(5.0 * levels + rng.uniform(size=200), levels, True)
    assert not totals.numpy().any()
    assert not slope.numpy().any()
    assert not failed[0]
