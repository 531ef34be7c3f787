"""The loss is a layer of the network, and its output or an added tensor."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.layers import LSTM, Dense, Embedding, Input, Lambda, dot

from keras_trainsteps import LossAwareModel as Model
from keras_trainsteps import losses

word_size = 16
nb_features = 500
encode_size = 8
margin = 0.1

RNG = np.random.default_rng(2)
QUESTIONS, RIGHT, WRONG = (RNG.integers(1, nb_features, size=(12, 5)) for _ in range(3))


# The output is the loss of each example


def encoders():
    embedding = Embedding(nb_features, word_size)
    lstm_encoder = LSTM(encode_size)

    def encode(input):
        return lstm_encoder(embedding(input))

    q_input = Input(shape=(None,))
    a_right = Input(shape=(None,))
    a_wrong = Input(shape=(None,))
    q_encoded = encode(q_input)
    a_right_encoded = encode(a_right)
    a_wrong_encoded = encode(a_wrong)

    q_encoded = Dense(encode_size)(q_encoded)
    return (q_input, a_right, a_wrong), (q_encoded, a_right_encoded, a_wrong_encoded)


def loss_layer(encoded):
    q_encoded, a_right_encoded, a_wrong_encoded = encoded
    right_cos = dot([q_encoded, a_right_encoded], -1, normalize=True)
    wrong_cos = dot([q_encoded, a_wrong_encoded], -1, normalize=True)
    return Lambda(lambda x: keras.ops.relu(margin + x[0] - x[1]))([wrong_cos, right_cos])


class TripletLoss(keras.layers.Layer):
    """A loss layer on the loss of this library: one number a batch."""

    def call(self, encoded):
        return losses.triplet(*encoded, margin=margin).value


class Matcher(Model):
    """The elegant way: the network encodes, the hook computes the loss."""

    def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
        return {"triplet": losses.triplet(*y_pred, margin=margin)}


def as_output(fit_y):
    """`fit_y` says whether it is given the dummy `y`."""
    inputs, encoded = encoders()
    model_train = Model(inputs=list(inputs), outputs=loss_layer(encoded))
    model_train.compile(optimizer="adam", loss=lambda y_true, y_pred: y_pred)
    y = np.zeros((len(QUESTIONS), 1)) if fit_y else None
    return model_train, y, inputs, encoded


def as_added_output():
    inputs, encoded = encoders()
    model_train = Model(inputs=list(inputs), outputs=loss_layer(encoded))
    model_train.add_loss(model_train.output)
    model_train.compile(optimizer="adam")
    return model_train, None, inputs, encoded


def as_layer():
    inputs, encoded = encoders()
    model_train = Model(inputs=list(inputs), outputs=list(encoded))
    model_train.add_loss(TripletLoss()(encoded), name="triplet")
    model_train.compile(optimizer="adam")
    return model_train, None, inputs, encoded


def as_hook():
    inputs, encoded = encoders()
    model_train = Matcher(inputs=list(inputs), outputs=list(encoded))
    model_train.compile(optimizer="adam")
    return model_train, None, inputs, encoded


@functools.cache
def trained(build, *args, eager=False):
    """The losses of two epochs, the weights after them, and the model."""
    keras.backend.clear_session()  # the same names: TensorFlow sums gradients in their order
    keras.utils.set_random_seed(2)
    model, y, inputs, encoded = build(*args)
    model.run_eagerly = eager
    rows = [QUESTIONS, RIGHT, WRONG]
    history = model.fit(rows, y, batch_size=6, epochs=2, shuffle=False, verbose=0).history
    return history["loss"], model.get_weights(), (model, inputs, encoded)


def assert_same(one, other):
    for weight, same in zip(one, other, strict=True):
        np.testing.assert_array_equal(weight, same)


@pytest.mark.slow
def test_a_loss_as_output_needs_no_dummy_targets():
    dummy, with_dummy, _ = trained(as_output, True)
    none, without, _ = trained(as_output, False)
    added, as_tensor, _ = trained(as_added_output)
    assert dummy == none == added
    assert_same(with_dummy, without)
    assert_same(with_dummy, as_tensor)


def test_the_loss_layer_agrees_to_the_bit_with_the_hook():
    # Eager: TensorFlow sums the gradients of a shared layer in an order that follows the
    # names in the graph, and a loss layer has one more.
    layer, by_layer, _ = trained(as_layer, eager=True)
    hook, by_hook, _ = trained(as_hook, eager=True)
    assert_same(by_layer, by_hook)
    np.testing.assert_allclose(layer, hook, rtol=2e-7)  # a mean of float32, a sum of float64


@pytest.mark.slow
@pytest.mark.parametrize("build", [as_layer, as_hook])
def test_a_loss_by_hand_agrees_with_the_library_within_float32(build):
    # The cosines of the library survive vectors whose squares are no float32: other roundings.
    (by_hand, weights, _), (library, by_library, _) = trained(as_output, True), trained(build)
    np.testing.assert_allclose(by_hand, library, rtol=1e-4)  # the second epoch's is nearly 0
    for weight, other in zip(weights, by_library, strict=True):
        np.testing.assert_allclose(weight, other, atol=1e-5)


def test_the_loss_is_that_of_the_formula():
    keras.utils.set_random_seed(2)
    model, *_ = as_hook()
    logs = model.evaluate([QUESTIONS, RIGHT, WRONG], verbose=0, return_dict=True)
    q, right, wrong = (v.astype("float64") for v in model.predict([QUESTIONS, RIGHT, WRONG]))

    def cos(a, b):
        return a @ b / np.sqrt((a @ a) * (b @ b))

    rows = zip(q, right, wrong, strict=True)
    each = [max(0.0, margin + cos(a, w) - cos(a, r)) for a, r, w in rows]
    np.testing.assert_allclose(logs["triplet"], np.mean(each), rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("build", [as_layer, as_hook])
def test_inference_models_share_the_trained_weights(build):
    _, _, (model, inputs, encoded) = trained(build)
    model_q_encoder = Model(inputs=inputs[0], outputs=encoded[0])
    model_a_encoder = Model(inputs=inputs[1], outputs=encoded[1])
    model_q_encoder.compile(optimizer="adam", loss="mse")
    model_a_encoder.compile(optimizer="adam", loss="mse")
    q, right, _ = model.predict([QUESTIONS, RIGHT, WRONG], verbose=0)
    np.testing.assert_array_equal(model_q_encoder.predict(QUESTIONS, verbose=0), q)
    np.testing.assert_array_equal(model_a_encoder.predict(RIGHT, verbose=0), right)
    shared = {id(w) for w in model.weights}
    assert {id(w) for w in model_q_encoder.weights} <= shared
    assert {id(w) for w in model_a_encoder.weights} <= shared


# Added to the model, with metrics that no `compile` could compute

WORDS = 7
SOURCE = RNG.integers(1, WORDS, size=(10, 4))
TARGET = np.array(
    [[1, *RNG.integers(2, WORDS, size=n), *[0] * (5 - n)] for n in [1, 2, 3, 4, 5] * 2]
)


def _get_loss(y_pred, y_true):
    y_true = tf.cast(y_true, dtype="int32")
    loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y_true, logits=y_pred)
    mask = tf.cast(tf.not_equal(y_true, 0), dtype="float32")
    loss = tf.reduce_sum(loss * mask, -1) / tf.reduce_sum(mask, -1)
    return loss


def _get_acc(y_pred, y_true):
    mask = keras.ops.cast(keras.ops.not_equal(y_true, 0), "float32")
    corr = keras.ops.cast(keras.ops.equal(y_true, keras.ops.argmax(y_pred, -1)), "float32")
    return keras.ops.sum(corr * mask, -1) / keras.ops.sum(mask, -1)


def seq2seq():
    source_input, target_input = Input((None,), dtype="int32"), Input((None,), dtype="int32")
    source = LSTM(8)(Embedding(WORDS, 6)(source_input))
    decoded = LSTM(8, return_sequences=True)(
        Embedding(WORDS, 6)(target_input[:, :-1]), initial_state=[source, source]
    )
    output = Dense(WORDS)(decoded)
    target_decode_out = target_input[:, 1:]

    shape = {"output_shape": ()}  # Keras 3 cannot infer it through `tf` functions
    loss = Lambda(lambda x: _get_loss(*x), **shape)([output, target_decode_out])
    model = Model([source_input, target_input], loss)
    model.add_loss([loss])
    model.compile("adam", None)
    model.add_metric(keras.ops.exp(loss), name="ppl")
    model.add_metric(_get_acc(output, target_decode_out), name="accuracy")
    return model, Model([source_input, target_input], output)


def per_row(logits):
    """Loss and accuracy of each sequence, float64."""
    logits, target = logits.astype("float64"), TARGET[:, 1:]
    shifted = logits - logits.max(-1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    found = []
    for row, tokens in enumerate(target):
        valid = [t for t, token in enumerate(tokens) if token != 0]
        loss = np.mean([-log_p[row, t, tokens[t]] for t in valid])
        hits = np.mean([logits[row, t].argmax() == tokens[t] for t in valid])
        found.append((loss, hits))
    return np.array(found).T


@pytest.mark.slow
def test_an_added_tensor_is_the_loss_with_added_metrics():
    keras.utils.set_random_seed(3)
    model, output_model = seq2seq()
    loss, hits = per_row(output_model.predict([SOURCE, TARGET], verbose=0))
    data = [SOURCE, TARGET]
    logs = model.evaluate(data, batch_size=4, verbose=0, return_dict=True)
    assert sorted(logs) == ["accuracy", "loss", "ppl", "regularization"]
    np.testing.assert_allclose(logs["loss"], loss.mean(), rtol=1e-6)
    np.testing.assert_allclose(logs["ppl"], np.exp(loss).mean(), rtol=1e-6)
    np.testing.assert_allclose(logs["accuracy"], hits.mean(), rtol=1e-6)

    history = model.fit(data, validation_data=(data,), epochs=20, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    after, _ = per_row(output_model.predict([SOURCE, TARGET], verbose=0))
    np.testing.assert_allclose(history["val_loss"][-1], after.mean(), rtol=1e-6)
