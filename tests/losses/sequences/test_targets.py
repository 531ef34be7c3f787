"""Targets as distributions, tokens of any shape, smoothing that spares a class, and `gamma`."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from keras_trainsteps import LossAwareModel, losses, metrics
from keras_trainsteps.losses.sequences.crossentropy import masked_crossentropy
from tests.losses.check import assert_same, term_and_gradient
from tests.losses.tokens import sequence_batches
from tests.reference import sequence as reference
from tests.reference.complex_step import gradient

RNG = np.random.default_rng(0)


def distributions(shape, seed=0):
    """Distributions over three classes, some of them of one class."""
    rng = np.random.default_rng(seed)
    one, many = np.eye(3)[rng.integers(0, 3, shape)], rng.dirichlet(np.ones(3), shape)
    return np.where(rng.random((*shape, 1)) < 0.3, one, many)


def probabilities(z):
    return np.exp(z) / np.exp(z).sum(-1, keepdims=True)


@given(
    batch=sequence_batches(),
    soft=st.booleans(),
    from_logits=st.booleans(),
    label_smoothing=st.sampled_from([0.0, 0.2]),
    smoothing_spares=st.sampled_from([None, 0, 2]),
    gamma=st.sampled_from([0.0, 0.5, 1.0, 2.0]),
    normalize=st.sampled_from(["tokens", "sequences"]),
)
def test_value_and_gradient_are_those_of_plain_loops(batch, soft, from_logits, **options):
    y, z, mask, weight = batch
    y = distributions(y.shape, seed=int(y.sum())) if soft else y
    z = z if from_logits else probabilities(z)
    renamed = {"label_smoothing": "smoothing", "smoothing_spares": "spared"}
    plain = {renamed.get(name, name): value for name, value in options.items()}
    columns = y.tolist(), mask.tolist(), weight.tolist()

    def total(z):
        return reference.masked_crossentropy(
            columns[0], z, *columns[1:], from_logits=from_logits, **plain
        )

    given = {"mask": mask, "sample_weight": weight, "from_logits": from_logits}
    result = term_and_gradient(lambda z: masked_crossentropy(y, z, **given, **options), z)
    expected = *total(z), gradient(lambda z: total(z)[0], z)
    assert_same(result, expected, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("normalize", ["tokens", "sequences"])
def test_tokens_of_any_shape_are_tokens(soft, normalize):
    z = RNG.normal(size=(4, 6, 3))
    y = distributions((4, 6)) if soft else RNG.integers(0, 3, (4, 6))
    last = y.shape[2:]
    mask, weight = RNG.random((4, 6)) < 0.7, RNG.integers(1, 4, (4, 6)) / 2
    options = {"normalize": normalize, "label_smoothing": 0.1}
    for of_tokens in (weight, weight[:, 0], weight[:, :1]):
        expected = masked_crossentropy(y, z, mask=mask, sample_weight=of_tokens, **options)
        square = of_tokens.reshape(4, 2, 3) if of_tokens.size == 24 else of_tokens
        images = masked_crossentropy(
            y.reshape(4, 2, 3, *last),
            z.reshape(4, 2, 3, 3),
            mask=mask.reshape(4, 2, 3),
            sample_weight=square,
            **options,
        )
        np.testing.assert_allclose(images, expected, rtol=1e-14)
    first = (y[:, 0], z[:, 0]), {"mask": mask[:, 0]}
    lone = (y[:, :1], z[:, :1]), {"mask": mask[:, :1]}
    for of_rows in (weight[:, 0], weight[:, :1]):
        found, expected = (
            masked_crossentropy(*arrays, **given, sample_weight=weights, **options)
            for (arrays, given), weights in ((first, of_rows), (lone, weight[:, 0]))
        )
        np.testing.assert_allclose(found, expected, rtol=1e-14)


def test_classes_of_rows_and_images_may_be_columns():
    y, z = RNG.integers(0, 3, (4, 2, 3)), RNG.normal(size=(4, 2, 3, 3))
    for cut in (np.index_exp[:], np.index_exp[:, 0, 0]):
        plain = masked_crossentropy(y[cut], z[cut], pad_id=1)
        column = masked_crossentropy(y[cut][..., None], z[cut], pad_id=1)
        assert float(plain.total) == float(column.total)
        assert float(plain.count) == float(column.count) == np.sum(y[cut] != 1)


def test_keras_agrees_on_distributions_and_gamma():
    y, z = distributions((5, 4)).astype("float32"), RNG.normal(size=(5, 4, 3)).astype("float32")
    both = {"from_logits": True, "label_smoothing": 0.1}
    value = masked_crossentropy(y, z, **both).value
    np.testing.assert_allclose(
        value, keras.losses.CategoricalCrossentropy(**both)(y, z), rtol=1e-6
    )
    focal = keras.losses.CategoricalFocalCrossentropy(alpha=1.0, gamma=1.5, **both)
    value = masked_crossentropy(y, z, gamma=1.5, **both).value
    np.testing.assert_allclose(value, focal(y, z), rtol=2e-6)


def test_gamma_of_lin_et_al():
    # Their figure 1 and section 3: gamma = 2 makes p = 0.9 cost a hundredth, p = 0.968 a
    # thousandth.
    for p, times in ((0.9, 100.0), (0.968, 1000.0)):
        options = {"y_true": [[0]], "y_pred": [[[p, 1 - p]]], "from_logits": False}
        plain, focal = (masked_crossentropy(**options, gamma=g).value for g in (0.0, 2.0))
        assert float(plain / focal) == pytest.approx(times, rel=0.03)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0])
def test_what_is_impossible_and_not_wanted_costs_nothing(gamma):
    soft = [[0.0, 0.25, 0.75]]
    for y, options in (
        (soft, {}),
        (soft, {"label_smoothing": 0.1, "smoothing_spares": 0}),
        ([2], {"label_smoothing": 0.1, "smoothing_spares": 0}),
    ):
        for from_logits, impossible in ((True, -np.inf), (False, 0.0)):
            z = np.array([[impossible, 0.5, 0.5]])
            _, _, slope = found = term_and_gradient(
                lambda z, y=y, options=options, from_logits=from_logits: masked_crossentropy(
                    np.array(y), z, from_logits=from_logits, gamma=gamma, **options
                ),
                z,
            )
            assert np.isfinite(found[0]), (y, options, from_logits)
            assert np.isfinite(slope).all(), (y, options, from_logits)


def test_what_is_certain_costs_nothing_whatever_gamma_is():
    for gamma in (0.0, 0.5, 1.0, 2.0):
        for y in ([0], [[1.0, 0.0]]):
            total, _, slope = term_and_gradient(
                lambda z, y=y, gamma=gamma: masked_crossentropy(np.array(y), z, gamma=gamma),
                np.array([[800.0, 0.0]]),
            )
            assert total == 0.0
            assert not slope.any()


def test_masked_distributions_may_be_anything():
    y, z, mask = distributions((3, 4)), RNG.normal(size=(3, 4, 3)), RNG.random((3, 4)) < 0.6
    given = {"mask": mask, "label_smoothing": 0.1, "gamma": 1.0}
    expected = term_and_gradient(lambda z: masked_crossentropy(y, z, **given), z)
    hidden = np.where(mask[..., None], y, np.nan)
    total, count, slope = term_and_gradient(
        lambda z: masked_crossentropy(hidden, z, **given), np.where(mask[..., None], z, np.nan)
    )
    assert_same((total, count, slope), expected)
    assert not slope[~mask].any()


def test_the_mask_of_keras_meets_distributions():
    z = tf.identity(tf.zeros((1, 3, 3)))
    z._keras_mask = tf.constant([[True, False, True]])
    assert float(masked_crossentropy(distributions((1, 3)), z).count) == 2


def test_bad_distributions_are_refused():
    y, z = distributions((2, 3)), np.zeros((2, 3, 3))
    refused = [
        (
            2 * y,
            {},
            r"`y_true` must hold probabilities that sum up to 1 .*a sum of 2\.0\. Divide",
        ),
        (y - 0.1, {}, "`y_true` must hold probabilities .*none below 0"),
        (np.full_like(y, np.nan), {}, "`y_true` must hold probabilities .*of nan"),
        (y, {"pad_id": 0}, "`pad_id` must be None where targets are distributions.*Received: 0"),
        (y[:, :2], {}, r"`y_true` must have the shape of `y_pred` where it holds .*\(2, 2, 3\)"),
        (
            y[..., :2],
            {},
            r"`y_true` must have the shape of `y_pred` where it holds .*\(2, 3, 2\)",
        ),
    ]
    for bad, options, message in refused:
        with pytest.raises(ValueError, match=message):
            masked_crossentropy(bad, z, **options)
    for cls in (metrics.TokenAccuracy, metrics.SequenceAccuracy):
        with pytest.raises(ValueError, match="`y_true` must have one class number per token"):
            cls().update_state(y, z)


@pytest.mark.slow
def test_bad_distributions_are_refused_in_a_graph_and_not_hidden_under_xla():
    y, z = tf.constant(2 * distributions((2, 3))), tf.zeros((2, 3, 3), tf.float64)

    def value(y, z):
        return masked_crossentropy(y, z, gamma=1.0, label_smoothing=0.1).value

    with pytest.raises(tf.errors.InvalidArgumentError, match="that sum up to 1"):
        tf.function(value)(y, z)
    compiled = tf.function(value, jit_compile=True)
    assert np.isnan(compiled(y, z))
    np.testing.assert_allclose(compiled(y / 2, z), value(y / 2, z), rtol=1e-14)


def test_a_class_that_smoothing_spares_where_classes_are_not_known():
    signature = [tf.TensorSpec((None, None), tf.int64), tf.TensorSpec((None, None, None))]

    @tf.function(input_signature=signature)
    def value(y, z):
        return masked_crossentropy(y, z, label_smoothing=0.1, smoothing_spares=2).value

    y, z = [[1, 0]], RNG.normal(size=(1, 2, 3)).astype("float32")
    expected = masked_crossentropy(y, z, label_smoothing=0.1, smoothing_spares=2).value
    assert float(value(y, z)) == pytest.approx(float(expected), rel=1e-6)
    with pytest.raises(
        tf.errors.InvalidArgumentError, match="`smoothing_spares` must be a class"
    ):
        value(y, z[..., :2])


@pytest.mark.parametrize(
    "shape", [(2, 3), *(pytest.param(s, marks=pytest.mark.slow) for s in ((), (3,)))]
)
def test_in_compile_with_weights_of_tokens(shape):
    inputs = keras.Input((*shape, 4))
    model = LossAwareModel(inputs, keras.layers.Dense(3)(inputs))
    options = {"gamma": 1.0, "label_smoothing": 0.1, "smoothing_spares": 0}
    loss = losses.MaskedCrossentropy(**options)
    model.compile("sgd", loss, weighted_metrics=[metrics.Perplexity()], run_eagerly=True)
    x = RNG.normal(size=(5, *shape, 4)).astype("float32")
    for y in (RNG.integers(0, 3, (5, *shape)), distributions((5, *shape)).astype("float32")):
        for weight in (RNG.random(5), RNG.random((5, *shape))):
            logs = model.evaluate(x, y, 2, 0, sample_weight=weight, return_dict=True)
            term = masked_crossentropy(y, model(x), sample_weight=weight, **options)
            plain = masked_crossentropy(y, model(x), sample_weight=weight)
            np.testing.assert_allclose(logs["loss"], term.value, rtol=1e-6)
            np.testing.assert_allclose(logs["perplexity"], np.exp(plain.value), rtol=1e-6)
