"""Rows by the nodes of their boxes."""

import numpy as np
import pytest
import tensorflow as tf

from keras_trainsteps.pairs.boxes import (
    PARTS,
    SEGMENT,
    at_rows,
    node_places,
    node_weights,
    place_powers,
    sort_into_boxes,
)
from keras_trainsteps.pairs.reduce import sum_by_group


@pytest.mark.parametrize(("nodes", "terms", "limit"), [(8, 5, 1e-7), (13, 8, 1e-13)])
def test_a_decaying_kernel_is_met_to_its_own_size(nodes, terms, limit):
    rng = np.random.default_rng(0)
    score = tf.constant(rng.uniform(0, 20, 500))
    group = tf.zeros((500,), tf.int32)
    boxes = sort_into_boxes(score, group, tf.constant(1))
    powers = place_powers(boxes, terms)
    origin = tf.reduce_min(score)
    values = tf.exp(-node_places(nodes, boxes.number))
    by_node = tf.reshape(values, (-1, nodes))
    got = at_rows(by_node, boxes.place, boxes.part, terms)
    np.testing.assert_allclose(got, tf.exp(origin - score), rtol=limit)
    moments = [tf.ones_like(score), *powers]
    moments = [sum_by_group(values, boxes.part, boxes.number * PARTS) for values in moments]
    weights = node_weights(moments, nodes)
    total = tf.reduce_sum(weights * by_node)
    np.testing.assert_allclose(total, tf.reduce_sum(tf.exp(origin - score)), rtol=limit)


def test_blocks_are_the_segments_that_hold_rows():
    score = tf.constant([0.0, 70.0, 1e15, 5.0, 3.0], tf.float64)
    group = tf.constant([1, 0, 0, 0, 1])
    boxes = sort_into_boxes(score, group, tf.constant(2))
    np.testing.assert_array_equal(boxes.group, [0, 0, 0, 1])
    np.testing.assert_array_equal(boxes.segment, [0, 2, 1e15 // SEGMENT, 0])
    np.testing.assert_array_equal(boxes.block, [3, 1, 2, 0, 3])
