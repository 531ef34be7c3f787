"""`QueryWatch`: which queries come back, with a state of a few bytes."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_trainsteps.step.query_watch import QueryWatch
from keras_trainsteps.step.running import QueryRows


def a_watch():
    """A watch that is no metric's: any owner can make its variables."""
    made = []

    def add_variable(shape, initializer, **options):
        made.append(keras.Variable(initializer, shape=shape, trainable=False, **options))
        return made[-1]

    return QueryWatch(add_variable), made


@pytest.mark.parametrize(
    ("queries", "rows", "batch_size"),
    [(1000, 10, 128), (2000, 20, 64), (3000, 5, 256), (500, 4, 32), (200, 50, 512)],
)
def test_shuffled_epochs_are_found(queries, rows, batch_size):
    watch, state = a_watch()

    @tf.function(input_signature=[tf.TensorSpec((batch_size,), tf.int64)])
    def found(ids):
        distinct, query = tf.unique(ids)
        seen = watch.look(QueryRows(distinct, query, tf.size(distinct), ids, False))
        watch.remember(seen)
        return seen.again

    rng = np.random.default_rng(0)
    for _ in range(40):
        for variable in state:
            variable.assign(tf.zeros_like(variable))
        ids = rng.permutation(np.repeat(np.arange(queries), rows))
        batches = ids[: len(ids) // batch_size * batch_size].reshape(-1, batch_size)
        assert any(bool(found(tf.constant(batch))) for batch in batches)


def found_in(batches, **options):
    """Which batches, of ids and labels, have a query of an earlier one."""
    watch, _ = a_watch()
    found = []
    for ids, labels in batches:
        ids = tf.constant(ids, tf.int64)
        distinct, query = tf.unique(ids)
        labels = tf.constant(labels, tf.float32)
        rows = QueryRows(distinct, query, tf.size(distinct), labels, False)
        seen = watch.look(rows, **options)
        watch.remember(seen)
        found.append(bool(seen.again))
    return found


def test_where_data_begin_again_a_query_with_all_its_rows_is_no_part():
    whole = [([1, 1, 2, 2, 2], [0.0, 2.0, 1.0, 0.0, 1.0]), ([3, 3], [0.0, 0.0])]
    other_order = ([2, 1, 2, 2, 1], [0.0, 2.0, 1.0, 1.0, 0.0])
    assert found_in([*whole, *whole, other_order], begin_again=True) == [False] * 5
    assert found_in([*whole, *whole, other_order]) == [False, False, True, True, True]


@pytest.mark.parametrize("labels", [[0.0], [0.0, 0.0, 0.0], [2.0, 1.0], [1.0, 1.0]])
def test_where_data_begin_again_a_part_is_found_by_its_labels(labels):
    batches = [([1, 1], [0.0, 2.0]), ([1] * len(labels), labels)]
    assert found_in(batches, begin_again=True) == [False, True]
