import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from keras_trainsteps.losses.embeddings.info_nce import info_nce
from keras_trainsteps.losses.embeddings.supervised_contrastive import (
    nt_xent,
    supervised_contrastive,
)
from tests.losses.check import assert_same, term_and_gradient
from tests.losses.labelled import embedding_batches
from tests.reference import embeddings as reference
from tests.reference.complex_step import gradient

temperatures = st.sampled_from([0.1, 1.0])
similarities = st.sampled_from(["cosine", "dot", "squared_euclidean"])


@given(
    batch=embedding_batches(copies=2),
    temperature=temperatures,
    similarity=similarities,
    with_ids=st.booleans(),
    with_probability=st.booleans(),
)
def test_info_nce_is_that_of_plain_loops(
    batch, temperature, similarity, with_ids, with_probability
):
    ids, x, mask, weight = batch
    probability = np.random.default_rng(0).uniform(0.01, 1.0, len(ids))

    def plain(x):
        return reference.info_nce(
            x,
            mask,
            weight,
            temperature=temperature,
            similarity=similarity,
            ids=ids if with_ids else None,
            probability=probability if with_probability else None,
        )

    result = term_and_gradient(
        lambda x: info_nce(
            *tf.unstack(x),
            temperature=temperature,
            similarity=similarity,
            ids=ids if with_ids else None,
            sampling_probability=probability if with_probability else None,
            mask=mask,
            sample_weight=weight,
        ),
        x,
    )
    assert_same(result, (*plain(x), gradient(lambda x: plain(x)[0], x)))


@given(batch=embedding_batches(), temperature=temperatures)
def test_supervised_contrastive_is_that_of_plain_loops(batch, temperature):
    labels, x, mask, weight = batch

    def plain(x):
        return reference.supervised_contrastive(x, labels, mask, weight, temperature=temperature)

    result = term_and_gradient(
        lambda x: supervised_contrastive(
            labels, x, temperature=temperature, mask=mask, sample_weight=weight
        ),
        x,
    )
    assert_same(result, (*plain(x), gradient(lambda x: plain(x)[0], x)))


@given(
    batch=embedding_batches(copies=2),
    temperature=temperatures,
    similarity=similarities,
    decoupled=st.booleans(),
    by_class=st.booleans(),
)
def test_nt_xent_is_that_of_plain_loops(batch, temperature, similarity, decoupled, by_class):
    labels, x, mask, weight = batch
    options = {"temperature": temperature, "similarity": similarity, "decoupled": decoupled}
    classes = labels if by_class else None

    def plain(x):
        return reference.nt_xent(x, mask, weight, classes=classes, **options)

    result = term_and_gradient(
        lambda x: nt_xent(
            *tf.unstack(x), positives_by=classes, mask=mask, sample_weight=weight, **options
        ),
        x,
    )
    total, count = plain(x)
    if not decoupled and not by_class:  # an example alone counts, though its loss is 0
        count = 2 * weight[mask].sum()
    assert_same(result, (total, count, gradient(lambda x: plain(x)[0], x)))


@pytest.mark.slow
@pytest.mark.parametrize("loss", [info_nce, nt_xent])
def test_eager_graph_of_unknown_size_and_xla_agree(loss):
    x = np.random.default_rng(0).normal(size=(2, 4, 3))

    def step(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            term = loss(*tf.unstack(x), temperature=tf.constant(0.2))
        return *term, tape.gradient(term.total, x)

    expected = [value.numpy() for value in step(tf.constant(x))]
    unknown = [tf.TensorSpec((2, None, 3), tf.float64)]
    assert_same(tf.function(step, input_signature=unknown)(x), expected)
    assert_same(tf.function(step, jit_compile=True)(tf.constant(x)), expected)


def test_an_anchor_whose_rivals_are_all_accidental_hits_does_not_count():
    x = np.random.default_rng(0).normal(size=(2, 3, 4))
    term = info_nce(*x, ids=["a", "a", "a"])
    assert (float(term.total), float(term.count)) == (0.0, 0.0)


def test_both_directions_are_a_sum_of_terms():
    a, b = np.random.default_rng(0).normal(size=(2, 3, 4))
    there, back = info_nce(a, b), info_nce(b, a)
    both = float((there + back).value)
    assert both == pytest.approx((float(there.value) + float(back.value)) / 2)


@pytest.mark.parametrize("loss", [info_nce, nt_xent])
def test_a_temperature_can_be_trained(loss):
    x = np.random.default_rng(0).normal(size=(2, 4, 3))
    temperature = tf.Variable(0.2, dtype=tf.float64)
    with tf.GradientTape() as tape:
        total = loss(*x, temperature=temperature).total
    slope = float(tape.gradient(total, temperature))
    ends = [float(loss(*x, temperature=0.2 + e).total) for e in (-1e-5, 1e-5)]
    assert slope == pytest.approx((ends[1] - ends[0]) / 2e-5, rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("loss", [info_nce, nt_xent])
def test_no_tensor_is_cubic_in_the_rows(loss):
    rows = 20

    @tf.function(input_signature=[tf.TensorSpec((2, rows, 3), tf.float32)])
    def step(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            total = loss(*tf.unstack(x)).total
        return tape.gradient(total, x)

    operations = step.get_concrete_function().graph.get_operations()
    largest = max(o.shape.num_elements() or 0 for op in operations for o in op.outputs)
    assert largest <= (2 * rows) ** 2


def test_bad_input_is_refused():
    x = np.ones((3, 2))
    with pytest.raises(ValueError, match="`positive` must have the shape and dtype"):
        info_nce(x, x[:2])
    with pytest.raises(ValueError, match="`second` must have the shape and dtype"):
        nt_xent(x, x.astype(np.float32))
    with pytest.raises(ValueError, match="`ids` must have one entry a row"):
        info_nce(x, x, ids=[1, 2])
    with pytest.raises(ValueError, match="`similarity` must be one of"):
        info_nce(x, x, similarity="l2")
    for probability in ([0.0, 0.5, 1.0], [0.1, 0.5, 1.1], [np.nan, 0.5, 1.0]):
        with pytest.raises(ValueError, match=r"`sampling_probability` must be in \(0, 1\]"):
            info_nce(x, x, sampling_probability=probability)
    for loss in (info_nce, nt_xent, supervised_contrastive):
        first = [0, 0, 1] if loss is supervised_contrastive else x
        with pytest.raises(ValueError, match="`temperature` must be a finite number"):
            loss(first, x, temperature=0)
