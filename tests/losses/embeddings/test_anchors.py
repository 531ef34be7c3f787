import functools
import math

import numpy as np
import pytest
import tensorflow as tf

from keras_trainsteps import losses
from keras_trainsteps.losses.embeddings import anchors
from tests.losses.check import assert_same
from tests.losses.every_loss import every, example, one_of_each


def of_embeddings(case):
    return case.of in ("labels", "outputs") and case.function.__name__ != "triplet"


@every(of_embeddings)
def test_few_anchors_at_a_time_give_what_all_at_once_give(case, monkeypatch):
    batch = example(case)
    expected = case.run(batch)
    for most, pairs in ((4, 2**21), (256, 30)):
        monkeypatch.setattr(anchors, "_ANCHORS", most)
        monkeypatch.setattr(anchors, "_PAIRS", pairs)
        monkeypatch.setattr(anchors, "_FEWEST", 3)
        assert_same(case.run(batch), expected)


@every(of_embeddings, default=one_of_each)
@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
def test_no_tensor_has_an_entry_a_pair(case, known):
    rows, width = 1024, 3
    columns = {name: tf.TensorSpec((rows if known else None, width)) for name in case.takes}
    if case.of == "labels":
        columns["y_true"] = tf.TensorSpec((rows if known else None,), tf.int64)

    @tf.function(input_signature=[columns])
    def step(batch):
        outputs = [batch[name] for name in case.takes]
        with tf.GradientTape() as tape:
            tape.watch(outputs)
            total = case.term(batch).total
        return tape.gradient(total, outputs)

    graph = step.get_concrete_function().graph.as_graph_def(add_shapes=True)
    nodes = [*graph.node]
    for function in graph.library.function:
        nodes += function.node_def
    shapes = [s for node in nodes for s in node.attr["_output_shapes"].list.shape]
    sizes = [math.prod(d.size for d in s.dim) for s in shapes if s.dim]
    assert len(sizes) > 50
    assert max(sizes) < rows * rows
    views = 2 if case.function.__name__ == "nt_xent" else 1  # of which each is an anchor
    tile = [anchors._ANCHORS, views * rows]
    assert any([d.size for d in shape.dim[:2]] == tile for shape in shapes) == known


@every(of_embeddings, default=one_of_each)
def test_a_second_derivative_raises(case):
    batch = {name: tf.constant(value) for name, value in example(case).items()}
    x = batch[case.takes[0]]
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            value = case.term(batch).value
        slope = tf.reduce_sum(inner.gradient(value, x) ** 2)
    with pytest.raises(NotImplementedError, match="first derivative only"):
        outer.gradient(slope, x)


@pytest.mark.parametrize("size", [1e-30, 1.0, 1e30])
def test_weights_may_be_of_any_size_and_be_trained(size):
    rng = np.random.default_rng(0)
    x, weight = rng.normal(size=(6, 3)).astype("float32"), size * rng.uniform(1, 2, 6)
    labels = [0, 0, 1, 1, 2, 2]

    def run(weight):
        weight, values = tf.constant(weight), tf.constant(x)
        with tf.GradientTape() as tape:
            tape.watch([weight, values])
            value = losses.supervised_contrastive(labels, values, sample_weight=weight).value
        return [value, *tape.gradient(value, [weight, values])]

    value, of_weight, of_values = run(weight)
    plain = run(weight / size)
    np.testing.assert_allclose(value, plain[0], rtol=1e-6)
    np.testing.assert_allclose(of_weight * size, plain[1], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(of_values, plain[2], rtol=1e-5, atol=1e-7)


def test_options_that_no_gradient_reaches_are_refused():
    labels, x = [0, 0, 1], np.ones((3, 2), np.float32)
    number = tf.Variable(0.5)
    for loss, names in (
        (losses.contrastive, ("margin",)),
        (functools.partial(losses.margin_loss, beta=1.2), ("margin",)),
        (losses.mined_triplet, ("margin",)),
        (losses.multi_similarity, ("alpha", "beta", "base")),
    ):
        for name in names:
            with pytest.raises(TypeError, match=f"`{name}` must be a plain number.*float"):
                loss(labels, x, **{name: number})
            loss(labels, x, **{name: float(number)})
