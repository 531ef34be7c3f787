import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from keras_trainsteps.losses.embeddings.mined_triplet import mined_triplet
from tests.losses.check import assert_same, term_and_gradient
from tests.losses.labelled import DISTANCES, embedding_batches, margins
from tests.reference import embeddings as reference
from tests.reference.complex_step import gradient


@pytest.mark.parametrize("mining", ["hard", "semihard", "all"])
@given(
    batch=embedding_batches(),
    distance=st.sampled_from(DISTANCES),
    margin=st.sampled_from([0.1, 1.0, None]),
    normalize=st.sampled_from(["triplets", "active"]),
)
def test_mined_triplet_is_that_of_plain_loops(mining, batch, distance, margin, normalize):
    labels, x, mask, weight = batch

    def plain(x):
        return reference.mined_triplet(
            x,
            labels,
            mask,
            weight,
            mining=mining,
            distance_kind=distance,
            margin=margin,
            normalize=normalize,
        )

    result = term_and_gradient(
        lambda x: mined_triplet(
            labels,
            x,
            mining=mining,
            distance=distance,
            mask=mask,
            sample_weight=weight,
            normalize=normalize,
            **margins(margin),
        ),
        x,
    )
    assert_same(result, (*plain(x), gradient(lambda x: plain(x)[0], x)))


@pytest.mark.slow
def test_no_tensor_is_cubic_in_the_rows():
    rows = 20

    def largest(**options):
        @tf.function(input_signature=[tf.TensorSpec((rows, 3), tf.float32)])
        def step(x):
            with tf.GradientTape() as tape:
                tape.watch(x)
                total = mined_triplet(np.arange(rows) % 4, x, mining="all", **options).total
            return tape.gradient(total, x)

        # The bodies of loops are functions of the graph's definition.
        graph = step.get_concrete_function().graph.as_graph_def(add_shapes=True)
        nodes = [*graph.node]
        for function in graph.library.function:
            nodes += function.node_def
        shapes = [s for node in nodes for s in node.attr["_output_shapes"].list.shape]
        assert len(shapes) > 100
        return max(math.prod(d.size for d in s.dim) for s in shapes if s.dim)

    assert rows * rows <= largest() <= rows * (rows + 2)
    assert rows * rows <= largest(soft_margin=True) <= rows * (rows + 2)


def test_a_second_derivative_of_the_soft_sum_raises():
    x = tf.constant([[0.0, 1.0], [1.0, 1.0], [1.0, 0.5]])
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            value = mined_triplet([0, 0, 1], x, mining="all", soft_margin=True).value
        slope = tf.reduce_sum(inner.gradient(value, x) ** 2)
    with pytest.raises(NotImplementedError, match="first derivative only"):
        outer.gradient(slope, x)
