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


@pytest.mark.parametrize("jit_compile", [None, True])
def test_padded_lists_have_the_ranks_of_their_rows(jit_compile):
    rng = np.random.default_rng(0)
    scores, kept = tf.constant(rng.normal(size=(3, 5))), rng.random((3, 5)) < 0.7
    query = np.where(kept, np.arange(3)[:, None], -1).astype("int32").ravel()
    rows, factor = np.flatnonzero(kept), rng.normal(size=15)

    def ranks_and_gradient(scores, query, **options):
        with tf.GradientTape() as tape:
            tape.watch(scores)
            ranks = soft_ranks.soft_ranks(scores, query, 0.5, **options)
            total = tf.reduce_sum(tf.gather(ranks, rows) * factor[rows])
        return tf.gather(ranks, rows), tape.gradient(total, scores)

    scores, query = tf.reshape(scores, (-1,)), tf.constant(query)
    plain = [
        1
        + sum(1 / (1 + np.exp((scores[i] - scores[j]) / 0.5)) for j in rows if j // 5 == i // 5)
        - 0.5
        for i in rows
    ]
    in_lists = tf.function(
        lambda: ranks_and_gradient(scores, query, list_size=tf.constant(5)),
        jit_compile=jit_compile,
    )()
    np.testing.assert_allclose(in_lists[0], plain, rtol=1e-14)
    alone = ranks_and_gradient(scores, query)
    np.testing.assert_allclose(in_lists[1], alone[1], rtol=1e-12, atol=1e-14)
    assert not np.delete(in_lists[1], rows).any()
