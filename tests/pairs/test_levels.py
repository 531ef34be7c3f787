"""Ranks of labels, and digits of ranks."""

import numpy as np
import pytest
import tensorflow as tf

from keras_trainsteps.pairs.levels import LEVELS, label_ranks, sum_by_levels
from keras_trainsteps.pairs.rules import PairRows


@pytest.mark.parametrize(
    "labels",
    [[0, 1, 0, 4], [5, 3, 3], [0.5, -1, 0.25, 0.5], list(range(20)), [1e9, 0, 1]],
)
def test_ranks_order_as_the_labels_do(labels):
    labels = np.asarray(labels, np.float64)
    considered = tf.ones(len(labels), tf.bool)
    rank, distinct = label_ranks(tf.constant(labels), considered)
    np.testing.assert_array_equal(
        np.sign(rank[:, None] - rank), np.sign(labels[:, None] - labels)
    )
    assert np.min(rank) >= 0
    assert np.max(rank) < int(distinct)


def test_labels_of_rows_left_out_do_not_count():
    labels = tf.constant([1e30, 0.0, 1.0, np.inf], tf.float64)
    rank, distinct = label_ranks(labels, tf.constant([False, True, True, False]))
    assert int(distinct) <= LEVELS
    assert rank[1] < rank[2]


@pytest.mark.parametrize("distinct", [1, 2, 8, 9, 64, 65, 500])
@pytest.mark.parametrize("smallest", [2, 10])
def test_each_pair_is_met_once_or_left_in_one_group(distinct, smallest):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, distinct, 300).astype(np.float64)
    query = rng.integers(-1, 2, 300).astype(np.int32)
    met = np.zeros((300, 300), int)

    def meet(levels):
        group, level = levels.group.numpy(), levels.level.numpy()
        same = (group[:, None] == group) & (group[:, None] >= 0)
        met[same & (level[:, None] > level)] += 1
        number = levels.weights.shape[0]
        zeros = tf.zeros((number,), tf.float64)
        return zeros, tf.zeros((300,), tf.float64), zeros > 0

    rows = PairRows(tf.constant(labels), tf.zeros((300,), tf.float64), None, {})
    *_, left = sum_by_levels(
        meet, rows, tf.constant(query), tf.constant(2), ties=False, smallest=smallest
    )
    group = left.group.numpy()
    met += (group[:, None] == group) & (group[:, None] >= 0) & (labels[:, None] > labels)
    same_query = (query[:, None] == query) & (query[:, None] >= 0)
    np.testing.assert_array_equal(met, same_query & (labels[:, None] > labels))
