"""Ranks of labels, and digits of ranks."""

import numpy as np
import pytest
import tensorflow as tf

from keras_trainsteps.pairs.levels import label_ranks, sum_by_levels
from keras_trainsteps.pairs.rules import PairRows


@pytest.mark.parametrize(
    "labels",
    [
        [0, 1, 0, 4],
        [5, 3, 3],
        [0.5, -1, 0.25, 0.5],
        list(range(20)),
        [1e9, 0, 1],
        [0, np.inf, 1, -np.inf],
    ],
)
def test_ranks_order_as_the_labels_do(labels):
    labels = np.asarray(labels, np.float64)
    rank, distinct = label_ranks(tf.constant(labels))
    np.testing.assert_array_equal(rank[:, None] > rank[None, :], labels[:, None] > labels)
    assert np.min(rank) >= 0
    assert np.max(rank) < int(distinct)


@pytest.mark.parametrize("distinct", [1, 2, 8, 9, 64, 65, 500])
@pytest.mark.parametrize("smallest", [2, 10])
def test_each_pair_is_met_once_or_left_in_one_group(distinct, smallest):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, distinct, 300).astype(np.float64)
    query = rng.integers(0, 2, 300).astype(np.int32)
    met = np.zeros((300, 300), int)

    def meet(levels):
        row = levels.score.numpy().astype(int)  # scores are row numbers
        np.testing.assert_array_equal(levels.label, labels[row])
        group, level = levels.group.numpy(), levels.level.numpy()
        higher = (group[:, None] == group) & (level[:, None] > level)
        met[row[:, None], row] += higher
        zeros = tf.zeros((levels.num_groups,), tf.float64)
        return zeros, tf.cast(row, tf.float64), zeros > 0

    score = tf.range(300, dtype=tf.float64)
    *_, slope, left = sum_by_levels(
        meet,
        PairRows(tf.constant(labels), score, None, {}),
        tf.constant(query),
        tf.constant(2),
        ties=False,
        smallest=smallest,
    )
    assert not np.any(slope % np.maximum(score, 1))  # each slope went to its own row
    group = left.group.numpy()
    met += (group[:, None] == group) & (group[:, None] >= 0) & (labels[:, None] > labels)
    same_query = query[:, None] == query
    np.testing.assert_array_equal(met, same_query & (labels[:, None] > labels))
