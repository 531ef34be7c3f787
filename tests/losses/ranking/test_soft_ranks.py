import numpy as np
import pytest
import tensorflow as tf

from keras_trainsteps.losses.ranking import soft_ranks


@pytest.mark.parametrize("jit_compile", [None, True])
def test_ranks_do_not_depend_on_the_blocks(monkeypatch, jit_compile):
    rng = np.random.default_rng(0)
    scores, query = tf.constant(rng.normal(size=23)), tf.constant(rng.integers(0, 3, 23))
    factor = rng.normal(size=23)

    def ranks_and_gradient():
        with tf.GradientTape() as tape:
            tape.watch(scores)
            ranks = soft_ranks.soft_ranks(scores, query, 0.5)
            total = tf.reduce_sum(factor * ranks)
        return ranks, tape.gradient(total, scores)

    expected = ranks_and_gradient()
    monkeypatch.setattr(soft_ranks, "BLOCK", 4)
    monkeypatch.setattr(soft_ranks, "_PAIRS", 0)
    blocks = tf.function(ranks_and_gradient, jit_compile=jit_compile)()
    np.testing.assert_allclose(blocks[0], expected[0], rtol=1e-14)
    np.testing.assert_allclose(blocks[1], expected[1], rtol=1e-12, atol=1e-14)


def test_no_block_has_the_squared_size_of_the_batch():
    rows, size = 2048, 32
    query = np.arange(rows) // size
    sizes = []

    def remember(s_i, s_j):
        sizes.append(s_i.shape[0] * s_j.shape[1])
        return s_j - s_i

    soft_ranks._in_blocks(remember, tf.constant(query), (tf.zeros((rows,)),))
    assert len(sizes) == rows // soft_ranks.BLOCK
    assert max(sizes) <= soft_ranks.BLOCK * (soft_ranks.BLOCK + 2 * size)
