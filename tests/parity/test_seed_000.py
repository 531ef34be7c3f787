"""The first seed: a pairwise loss by query id, as its article prints it."""

import numpy as np
import pytest
import tensorflow as tf

from keras_trainsteps.losses import pairwise_logistic


def pairwise_binary_crossentropy(query):
    """The seed's own lines."""

    def loss(y_true, y_pred):
        pair_mask = tf.equal(query, tf.transpose(query))
        pair_mask = tf.cast(pair_mask, tf.float32)
        pair_mask_diag = tf.linalg.band_part(tf.ones_like(pair_mask), -1, 0)
        pair_mask_diag = tf.linalg.band_part(pair_mask_diag, 0, 0)
        pair_mask_diag_reverse = 1 - pair_mask_diag
        pair_mask = pair_mask * pair_mask_diag_reverse
        si_minus_sj = y_pred - tf.transpose(y_pred)
        yi_minus_yj = y_true - tf.transpose(y_true)
        yi_minus_yj = tf.maximum(tf.minimum(1.0, yi_minus_yj), -1.0)
        yi_minus_yj = 0.5 * (1 + yi_minus_yj)
        logloss = tf.nn.sigmoid_cross_entropy_with_logits(labels=yi_minus_yj, logits=si_minus_sj)
        num_pairs = tf.reduce_sum(pair_mask)
        loss = pair_mask * logloss
        loss = tf.reduce_sum(loss)
        res = loss / (num_pairs + 0.00001)
        return res

    return loss


@pytest.mark.parametrize("rows", [1, 2, 7, 100])
def test_value_and_gradient_equal_the_seed(rows):
    rng = np.random.default_rng(rows)
    query = tf.constant(rng.integers(0, 5, size=(rows, 1)))
    y_true = tf.constant(rng.integers(0, 3, size=(rows, 1)).astype("float32"))
    y_pred = tf.constant(rng.normal(size=(rows, 1)).astype("float32") * 3)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(y_pred)
        seed = pairwise_binary_crossentropy(query)(y_true, y_pred)
        term = pairwise_logistic(y_true, y_pred, query_ids=query, pairs="all", epsilon=1e-5)
        own = term.value
    # The seed adds up rows**2 float32 numbers: its own rounding is what differs.
    ulp = np.finfo("float32").eps
    assert abs(float(seed - own)) <= 8 * ulp * max(float(seed), ulp)
    seed_gradient, own_gradient = (tape.gradient(v, y_pred).numpy() for v in (seed, own))
    np.testing.assert_allclose(own_gradient, seed_gradient, atol=2 * rows * ulp)
