import numpy as np
import pytest

from keras_trainsteps.losses.embeddings.sampling import expected_count, sampling_probability


def test_both_are_the_averages_over_drawn_batches():
    counts, rows = np.array([6, 3, 1, 0]), 4
    drawn = np.random.default_rng(0).choice(4, size=(40_000, rows), p=counts / counts.sum())
    held = np.stack([(drawn == item).sum(1) for item in range(4)], 1)
    np.testing.assert_allclose(expected_count(counts, batch_size=rows), held.mean(0), atol=0.02)
    likely = sampling_probability(counts, batch_size=rows)
    np.testing.assert_allclose(likely, (held > 0).mean(0), atol=0.01)


def test_rare_items_keep_their_digits():
    counts = np.array([1e18, 1.0])
    assert sampling_probability(counts, batch_size=8)[1] == pytest.approx(8e-18, rel=1e-12)
    assert sampling_probability([5], batch_size=8).tolist() == [1.0]


def test_which_correction_sums_up_to_the_whole_catalogue():
    # The sum of w / q over a batch is on average the sum of w over all items: with duplicates
    # if q is the expected count, without them if q is the probability.
    counts, rows, worth = np.array([70, 20, 10]), 4, np.array([1.0, 5.0, 2.0])
    drawn = np.random.default_rng(0).choice(3, size=(100_000, rows), p=counts / counts.sum())
    held = np.stack([(drawn == item).sum(1) for item in range(3)], 1)
    each = held @ (worth / expected_count(counts, batch_size=rows))
    distinct = (held > 0) @ (worth / sampling_probability(counts, batch_size=rows))
    assert each.mean() == pytest.approx(8.0, rel=0.01)
    assert distinct.mean() == pytest.approx(8.0, rel=0.01)


@pytest.mark.parametrize("function", [expected_count, sampling_probability])
def test_bad_counts_are_refused(function):
    for counts in ([-1, 2], [0, 0], [np.nan, 1], [np.inf, 1], []):
        with pytest.raises(ValueError, match="`counts` must be finite, not negative and not all"):
            function(counts, batch_size=2)
    with pytest.raises(ValueError, match=r"`counts` must have one number per item.*\(1, 2\)"):
        function([[1, 2]], batch_size=2)
    with pytest.raises(ValueError, match="`batch_size` must be"):
        function([1, 2], batch_size=0)
