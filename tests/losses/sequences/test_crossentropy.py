import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from keras_trainsteps.losses.sequences.crossentropy import masked_crossentropy
from tests.losses.check import assert_same, term_and_gradient
from tests.losses.tokens import sequence_batches
from tests.reference import sequence as reference
from tests.reference.complex_step import gradient


def reference_total(y, z, mask, weight, **options):
    options = {"smoothing": 0.0, "normalize": "tokens", "from_logits": True} | options
    return reference.masked_crossentropy(y.tolist(), z, mask.tolist(), weight.tolist(), **options)


@given(
    batch=sequence_batches(),
    smoothing=st.sampled_from([0.0, 0.1]),
    normalize=st.sampled_from(["tokens", "sequences"]),
    from_logits=st.booleans(),
)
def test_value_and_gradient_are_those_of_plain_loops(batch, smoothing, normalize, from_logits):
    y, z, mask, weight = batch
    if not from_logits:
        z = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
    options = {"smoothing": smoothing, "normalize": normalize, "from_logits": from_logits}

    def total(z):
        return reference_total(y, z, mask, weight, **options)

    result = term_and_gradient(
        lambda z: masked_crossentropy(
            y,
            z,
            mask=mask,
            sample_weight=weight,
            from_logits=from_logits,
            label_smoothing=smoothing,
            normalize=normalize,
        ),
        z,
    )
    assert_same(result, (*total(z), gradient(lambda z: total(z)[0], z)))


@given(batch=sequence_batches(), smoothing=st.sampled_from([0.0, 0.1]))
def test_what_is_masked_or_padded_is_ignored(batch, smoothing):
    y, z, mask, weight = batch
    hidden_y = np.where(mask, y, -100)
    hidden_z = np.where(mask[..., None], z, np.nan)
    long_y = np.pad(hidden_y, [(0, 1), (0, 2)], constant_values=-100)
    long_z = np.pad(hidden_z, [(0, 1), (0, 2), (0, 0)], constant_values=np.nan)
    pads = [(0, 1), (0, 2)][: weight.ndim]
    long_weight = np.pad(weight, pads, constant_values=7.0)
    expected = term_and_gradient(
        lambda z: masked_crossentropy(
            y, z, mask=mask, sample_weight=weight, label_smoothing=smoothing
        ),
        z,
    )
    total, count, slope = term_and_gradient(
        lambda z: masked_crossentropy(
            long_y, z, pad_id=-100, sample_weight=long_weight, label_smoothing=smoothing
        ),
        long_z,
    )
    inside = slope[: z.shape[0], : z.shape[1]]
    assert_same((total, count, inside), expected)
    assert np.count_nonzero(slope) == np.count_nonzero(inside)


@pytest.mark.parametrize("normalize", ["tokens", "sequences"])
def test_nothing_valid_is_zero(normalize):
    for b, t in ((0, 2), (2, 0), (2, 2)):
        options = {"mask": np.zeros((b, t), bool), "normalize": normalize}
        total, count, slope = term_and_gradient(
            functools.partial(masked_crossentropy, np.zeros((b, t), int), **options),
            np.full((b, t, 3), np.nan),
        )
        assert (total, count) == (0.0, 0.0)
        assert not slope.any()


def test_a_target_of_probability_0_has_an_infinite_loss():
    impossible = masked_crossentropy([[0]], [[[0.0, 1.0]]], from_logits=False)
    assert float(impossible.value) == np.inf


def test_the_masks_precedence():
    y = np.array([[1, 0, 2, 2]])
    z = tf.zeros((1, 4, 3))

    def count(y_pred, **options):
        return float(masked_crossentropy(y, y_pred, **options).count)

    implied = tf.identity(z)
    implied._keras_mask = tf.constant([[True, False, False, False]])
    assert count(z) == 4
    assert count(implied) == 1
    assert count(implied, pad_id=0) == 3
    assert count(implied, mask=[[1, 1, 1, 1]]) == 4
    assert count(implied, mask=[[1, 1, 0, 1]], pad_id=0) == 2


def test_the_mask_of_an_embedding_is_honoured():
    inputs = keras.Input((None,), dtype="int32")
    hidden = keras.layers.Embedding(4, 3, mask_zero=True)(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2)(hidden))
    x = np.array([[1, 2, 0], [3, 0, 0]])
    term = masked_crossentropy(np.ones((2, 3), int), model(x))
    assert float(term.count) == 3


def test_keras_agrees_where_its_divisor_does():
    rng = np.random.default_rng(0)
    y, z = rng.integers(0, 5, (3, 4)), rng.normal(size=(3, 4, 5)).astype(np.float32)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=0)
    value = masked_crossentropy(y, z, pad_id=0).value
    np.testing.assert_allclose(value, loss(y, z), rtol=1e-6)


@pytest.mark.slow  # the tests of all losses compile another one by default
def test_eager_graph_of_unknown_size_and_xla_agree():
    y = np.array([[1, 2, 0], [2, 0, 0]])
    z = np.linspace(-1, 2, 18)[np.random.default_rng(0).permutation(18)].reshape(2, 3, 3)

    def step(y, z):
        with tf.GradientTape() as tape:
            tape.watch(z)
            term = masked_crossentropy(y, z, pad_id=0, label_smoothing=0.1, normalize="sequences")
        return *term, tape.gradient(term.total, z)

    expected = [value.numpy() for value in step(tf.constant(y), tf.constant(z))]
    unknown = [
        tf.TensorSpec((None, None), tf.int64),
        tf.TensorSpec((None, None, 3), tf.float64),
    ]
    assert_same(tf.function(step, input_signature=unknown)(y, z), expected)
    assert_same(tf.function(step, jit_compile=True)(tf.constant(y), tf.constant(z)), expected)


def test_targets_may_be_floats_and_columns_but_not_narrow():
    z = np.zeros((1, 2, 3))
    for y in (np.array([[1.0, 2.0]], np.float32), np.array([[[1], [2]]])):
        np.testing.assert_allclose(masked_crossentropy(y, z).value, np.log(3), rtol=1e-14)
    with pytest.raises(TypeError, match=r"`y_true` must hold class numbers.*float16"):
        masked_crossentropy(np.array([[1.0, 2.0]], np.float16), z)


def test_a_second_derivative_raises():
    z = tf.constant([[[0.5, 0.0]]])
    with tf.GradientTape() as outer:
        outer.watch(z)
        with tf.GradientTape() as inner:
            inner.watch(z)
            value = masked_crossentropy([[1]], z).value
        slope = tf.reduce_sum(inner.gradient(value, z) ** 2)
    with pytest.raises(NotImplementedError, match="first derivative only"):
        outer.gradient(slope, z)


def test_the_mask_costs_no_copy_of_the_logits():
    def operations(loss):
        @tf.function(
            input_signature=[
                tf.TensorSpec((4, 5), tf.int64),
                tf.TensorSpec((4, 5, 7), tf.float32),
            ]
        )
        def step(y, z):
            with tf.GradientTape() as tape:
                tape.watch(z)
                total = loss(y, z)
            return tape.gradient(total, z)

        # Of what the gradient is made of: TensorFlow drops the rest before it runs.
        waiting = list(step.get_concrete_function().graph.outputs)
        used = {}
        while waiting:
            output = waiting.pop()
            if output.name not in used:
                used[output.name] = output
                waiting.extend(output.op.inputs)
        views = ("Placeholder", "Reshape", "Identity", "IdentityN")
        return sum(
            output.shape.num_elements() == 4 * 5 * 7 and output.op.type not in views
            for output in used.values()
        )

    def fused(y, z):
        return tf.reduce_sum(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=z))

    # The softmax's slopes, and their product with the upstream gradient.
    masked = operations(lambda y, z: masked_crossentropy(y, z, pad_id=0).total)
    assert masked == operations(fused) == 2


def test_bad_input_is_refused():
    y, z = np.zeros((2, 3), int), np.zeros((2, 3, 4))
    refused = [
        ((y, z[0, 0]), {}, r"`y_pred` must have one row of classes per token.*\(4,\)"),
        ((y, z[0]), {}, r"one class number per token\. Received: shape \(2, 3\) .*\(3, 4\)"),
        ((y[0], z), {}, r"`y_true` must have one class number per token.*\(3,\)"),
        ((y[:, :2], z), {}, r"`y_true` must have one class number per token.*\(2, 2\)"),
        ((y + 4, z), {}, "`y_true` must hold class numbers from 0 to 3"),
        ((y - 1, z), {}, r"a class of -1\. Leave other tokens out with `mask`"),
        ((y, z), {"mask": np.ones(2)}, "`mask` must have one entry per token"),
        ((y, z), {"mask": np.ones((2, 4))}, "`mask` must have one entry per token"),
        ((y, z), {"sample_weight": np.ones(3)}, "`sample_weight` must have one entry"),
        ((y, z), {"sample_weight": -np.ones(2)}, "`sample_weight` must be numbers"),
        ((y, z), {"label_smoothing": 1.0}, r"`label_smoothing` must be in \[0, 1\)"),
        ((y, z), {"gamma": -1.0}, "`gamma` must be a finite number, not negative"),
        ((y, z), {"smoothing_spares": 4}, "`smoothing_spares` must be a class of .* 4 for 4 cla"),
        ((y, z), {"smoothing_spares": -1}, r"`smoothing_spares` must be a class of .*: -1\. Cl"),
        ((y, z), {"normalize": "mean"}, "`normalize` must be one of"),
    ]
    for arguments, options, message in refused:
        with pytest.raises(ValueError, match=message):
            masked_crossentropy(*arguments, **options)
    with pytest.raises(TypeError, match="`pad_id` must be an integer"):
        masked_crossentropy(y, z, pad_id=0.0)
    with pytest.raises(TypeError, match="`smoothing_spares` must be an integer"):
        masked_crossentropy(y, z, smoothing_spares=0.5)
