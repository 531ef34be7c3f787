import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given

from keras_trainsteps.losses.sequences.crossentropy import masked_crossentropy
from keras_trainsteps.metrics.sequence import Perplexity, SequenceAccuracy, TokenAccuracy
from tests.losses.tokens import sequence_batches
from tests.reference import sequence as reference

METRICS = [Perplexity, TokenAccuracy, SequenceAccuracy]


@given(first=sequence_batches(), second=sequence_batches())
def test_epoch_perplexity_is_exp_of_the_epochs_token_mean_loss(first, second):
    metric = Perplexity()
    terms = []
    for y, z, mask, weight in (first, second):
        metric.update_state(y, z, weight, mask=mask)
        terms.append(masked_crossentropy(y, z, mask=mask, sample_weight=weight))
    epoch = terms[0] + terms[1]
    assert float(metric.result()) == float(tf.exp(epoch.value))


@given(batch=sequence_batches())
def test_accuracies_are_those_of_plain_loops(batch):
    y, z, mask, weight = batch
    for metric, plain in (
        (TokenAccuracy(), reference.token_accuracy),
        (SequenceAccuracy(), reference.sequence_accuracy),
    ):
        metric.update_state(y, z, weight, mask=mask)
        expected = plain(y.tolist(), z, mask.tolist(), weight.tolist())
        np.testing.assert_allclose(metric.result(), expected, rtol=1e-14)


@pytest.mark.parametrize("metric", METRICS)
def test_padding_does_not_count_however_it_is_named(metric):
    y = np.array([[1, 2, 0], [2, 0, 0]])
    z = np.random.default_rng(0).normal(size=(2, 3, 3))
    hidden = np.where((y != 0)[..., None], z, np.nan)
    implied = tf.constant(hidden)
    implied._keras_mask = tf.constant(y != 0)
    results = []
    for made, y_pred, options in (
        (metric(), hidden, {"mask": y != 0}),
        (metric(pad_id=0), hidden, {}),
        (metric(), implied, {}),
    ):
        made.update_state(y, y_pred, **options)
        results.append(float(made.result()))
    assert results[0] == results[1] == results[2]
    assert np.isfinite(results[0])


@pytest.mark.parametrize("metric", METRICS)
def test_nothing_valid_and_reset(metric):
    made = metric(pad_id=0)
    empty = 1.0 if metric is Perplexity else 0.0
    made.update_state([[0, 0]], np.zeros((1, 2, 3)))
    assert float(made.result()) == empty
    made.update_state([[1, 2]], np.ones((1, 2, 3)))
    assert float(made.count) > 0
    made.reset_state()
    assert float(made.count) == float(made.total) == 0.0


@pytest.mark.parametrize("metric", METRICS)
def test_nan_is_not_hidden(metric):
    made = metric()
    made.update_state([[0, 1]], [[[1.0, 0.0], [np.nan, 0.0]]])
    assert np.isnan(made.result())


@pytest.mark.parametrize("metric", METRICS)
def test_a_token_count_beyond_float32_is_exact(metric):
    made = metric()
    made.count.assign(2.0**24)
    made.update_state([[1]], np.zeros((1, 1, 3)))
    assert float(made.count) == 2.0**24 + 1


@pytest.mark.parametrize("metric", METRICS)
def test_config_round_trip(metric):
    made = metric(mask="mask", pad_id=3, name="mine")
    restored = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(made))
    assert type(restored) is metric
    assert restored.get_config() == made.get_config()
    assert restored.side_inputs == ("mask",)
    assert metric().side_inputs == ()
    probabilities = Perplexity.from_config(Perplexity(from_logits=False).get_config())
    assert probabilities.from_logits is False


@pytest.mark.parametrize("metric", METRICS)
def test_a_named_mask_that_is_not_there_is_refused(metric):
    with pytest.raises(ValueError, match=r"[Ss]ide input `mask`"):
        metric(mask="mask").update_state([[0]], [[[1.0, 0.0]]])


def test_default_names_say_what_they_are():
    names = [metric().name for metric in METRICS]
    assert names == ["perplexity", "token_accuracy", "sequence_accuracy"]


def test_stock_fit_passes_the_implicit_mask():
    inputs = keras.Input((3,), dtype="int32")
    hidden = keras.layers.Embedding(4, 3, mask_zero=True)(inputs)
    model = keras.Model(inputs, keras.layers.Dense(4)(hidden))
    model.compile(
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[Perplexity(), TokenAccuracy(), SequenceAccuracy()],
    )
    x = np.array([[1, 2, 0], [3, 0, 0], [1, 1, 1]])
    logs = model.evaluate(x, x, batch_size=2, verbose=0, return_dict=True)
    z = model(x)
    expected = masked_crossentropy(x, z, mask=x != 0)
    np.testing.assert_allclose(logs["perplexity"], np.exp(expected.value), rtol=1e-6)
    right = np.argmax(z, -1) == x
    np.testing.assert_allclose(logs["token_accuracy"], right[x != 0].mean(), rtol=1e-6)
