"""Rows grouped by query."""

import numpy as np
import pytest
import tensorflow as tf

from keras_trainsteps.pairs.groups import group_rows
from keras_trainsteps.pairs.reduce import count_by_group


@pytest.mark.parametrize(
    "query", [[0, 0, 1, 1, 1], [2, 0, 2, 1], [-1, 0, -1, 2, 0], [-1, -1], [], [3]]
)
def test_each_group_is_a_run_of_the_order(query):
    query = np.asarray(query, np.int32)
    sizes = count_by_group(tf.constant(query), tf.constant(4))
    groups = group_rows(tf.constant(query), sizes)
    for group in range(4):
        start, size = int(groups.starts[group]), int(groups.sizes[group])
        rows = groups.order.numpy()[start : start + size]
        np.testing.assert_array_equal(rows, np.flatnonzero(query == group))
