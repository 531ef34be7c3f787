"""Rows grouped by query."""

import numpy as np
import pytest
import tensorflow as tf

from keras_trainsteps.pairs.groups import group_rows


@pytest.mark.parametrize(
    "query", [[0, 0, 1, 1, 1], [2, 0, 2, 1], [-1, 0, -1, 2, 0], [-1, -1], [], [3]]
)
def test_each_group_is_a_run_of_the_order(query):
    query = np.asarray(query, np.int32)
    groups = group_rows(tf.constant(query), tf.constant(4))
    for group in range(4):
        start, size = int(groups.starts[group]), int(groups.sizes[group])
        rows = groups.order.numpy()[start : start + size]
        np.testing.assert_array_equal(rows, np.flatnonzero(query == group))


def test_groups_by_size():
    groups = group_rows(tf.constant([1, 0, 1, 2, 1, 2]), tf.constant(3)).by_size()
    np.testing.assert_array_equal(groups.sizes, [3, 2, 1])
    np.testing.assert_array_equal(groups.order.numpy()[groups.starts.numpy()], [0, 3, 1])
