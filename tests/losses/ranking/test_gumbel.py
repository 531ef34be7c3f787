import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_trainsteps.losses.ranking.approximate import approx_ndcg
from keras_trainsteps.losses.ranking.gumbel import gumbel, with_gumbel
from keras_trainsteps.losses.ranking.listwise import softmax


def test_noise_has_the_gumbel_distribution():
    noise = gumbel(np.zeros(3), samples=20_000, temperature=2.0, seed=5).numpy()
    assert noise.shape == (20_000, 3)
    # Mean 0.5772 and deviation pi / sqrt(6), times the temperature; 5 standard errors.
    deviation = 2.0 * np.pi / np.sqrt(6)
    assert abs(noise.mean() - 2.0 * np.euler_gamma) < 5 * deviation / np.sqrt(noise.size)
    np.testing.assert_allclose(noise.std(), deviation, rtol=0.03)


def test_sorting_perturbed_scores_draws_from_the_softmax():
    scores = np.array([0.0, 1.0, -0.5])
    first = np.argmax(gumbel(scores, samples=20_000, seed=2), axis=1)
    expected = np.exp(scores) / np.exp(scores).sum()
    np.testing.assert_allclose(np.bincount(first) / 20_000, expected, atol=0.02)


def test_seeds():
    assert np.array_equal(gumbel([0.0], seed=1), gumbel([0.0], seed=1))
    assert not np.array_equal(gumbel([0.0], seed=1), gumbel([0.0], seed=2))
    assert not np.array_equal(gumbel([0.0], seed=1), gumbel([0.0], seed=1 + 2**63))
    assert not np.array_equal(gumbel([0.0]), gumbel([0.0]))
    generator = keras.random.SeedGenerator(1)
    assert not np.array_equal(gumbel([0.0], seed=generator), gumbel([0.0], seed=generator))


def test_the_gradient_is_that_of_a_sum():
    scores = tf.constant([0.5, 1.0])
    with tf.GradientTape() as tape:
        tape.watch(scores)
        total = tf.reduce_sum(gumbel(scores, samples=4, seed=1) * [2.0, 3.0])
    assert tape.gradient(total, scores).numpy().tolist() == [8.0, 12.0]


def test_with_gumbel_is_the_mean_of_the_loss_over_the_samples():
    y_true, scores, ids = [1.0, 0.0, 2.0], np.array([0.1, 0.2, 0.3]), [4, 4, 4]
    copies = gumbel(scores, samples=5, temperature=0.5, seed=9)
    values = [float(approx_ndcg(y_true, copies[k], query_ids=ids).value) for k in range(5)]
    loss = with_gumbel(approx_ndcg, samples=5, temperature=0.5, seed=9)
    term = loss(y_true, scores, query_ids=ids)
    np.testing.assert_allclose(term.value, np.mean(values), rtol=1e-14)
    assert float(term.count) == 5.0


@pytest.mark.slow
@pytest.mark.parametrize("jit_compile", [False, True])
def test_eager_graph_and_xla_draw_the_same(jit_compile):
    loss = with_gumbel(softmax, samples=2, seed=9)

    def run(scores):
        return loss([1.0, 0.0], scores, query_ids=[4, 4]).value

    scores = tf.constant([0.25, 1.0])
    expected = float(run(scores))
    compiled = tf.function(run, jit_compile=jit_compile)
    assert float(compiled(scores)) == pytest.approx(expected, rel=1e-6)


def test_narrow_scores_are_widened_and_padded_lists_keep_their_shape():
    noisy = gumbel(tf.zeros((2, 3), tf.float16), samples=4, seed=0)
    assert noisy.dtype == tf.float32
    assert noisy.shape == (4, 2, 3)


def test_bad_options_are_refused():
    with pytest.raises(ValueError, match="`samples` must be an integer of at least 1"):
        gumbel([0.0], samples=0)
    with pytest.raises(ValueError, match="`temperature` must be a finite number above 0"):
        gumbel([0.0], temperature=-1.0)
    with pytest.raises(TypeError, match="`seed` must be an integer"):
        gumbel([0.0], seed=1.5)
    with pytest.raises(TypeError, match="`loss` must be a function"):
        with_gumbel("softmax")
