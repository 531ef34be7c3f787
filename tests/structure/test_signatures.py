"""What a layer computes: its config without what only training or naming needs."""

import json

import keras
import pytest

from keras_trainsteps.structure.signatures import layer_signature

Dense = keras.layers.Dense


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        (Dense(2), Dense(2, name="other", kernel_initializer="ones"), True),
        (Dense(2), Dense(2, kernel_regularizer="l2", bias_constraint="non_neg"), True),
        (Dense(2), Dense(2, trainable=False), True),
        (keras.layers.Dropout(0.1, seed=1), keras.layers.Dropout(0.5, seed=2), True),
        (keras.layers.LeakyReLU(0.1), keras.layers.LeakyReLU(0.2), False),
        (Dense(2), Dense(3), False),
        (Dense(2), Dense(2, use_bias=False), False),
        (Dense(2), Dense(2, dtype="float16"), False),
        (Dense(2), keras.layers.EinsumDense("ab,bc->ac", 2), False),
    ],
)
def test_signatures_are_the_same_where_layers_compute_the_same(left, right, same):
    left, right = layer_signature(left), layer_signature(right)
    assert (left == right) == same
    assert json.loads(json.dumps(left)) == left


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (keras.layers.Dropout(0.5), keras.layers.Dropout(0.3)),
        (keras.layers.Dense(2), keras.layers.Dense(2, kernel_regularizer="l2")),
        (keras.layers.Dense(2), keras.layers.Dense(2, trainable=False)),
        (keras.layers.Dense(2), keras.layers.Dense(2, bias_constraint="non_neg")),
    ],
)
def test_what_only_training_needs_is_told_for_training_alone(left, right):
    assert layer_signature(left) == layer_signature(right)
    assert layer_signature(left, training=True) != layer_signature(right, training=True)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (keras.layers.Dense(2), keras.layers.Dense(2, kernel_initializer="ones")),
        (keras.layers.Dropout(0.5, seed=1), keras.layers.Dropout(0.5, seed=2)),
        (keras.layers.Dense(2), keras.layers.Dense(2, name="other")),
    ],
)
def test_how_a_layer_began_is_never_told(left, right):
    assert layer_signature(left, training=True) == layer_signature(right, training=True)
