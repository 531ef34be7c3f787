"""The losses of `compile` as terms: targets, weights, masks and denominators."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_trainsteps import LossAwareModel, losses
from tests.toy import (
    BATCHES,
    MAE,
    MSE,
    ROWS,
    SQUARES,
    SUMS,
    WEIGHTS,
    X,
    Y,
    close,
    dense,
    evaluate,
    fit,
    still,
)

# Targets


def test_a_function_of_this_library_needs_targets_as_one_of_keras():
    inputs = keras.Input((3,))
    model = still(LossAwareModel(inputs, keras.layers.Dense(2)(inputs)), loss=losses.softmax)
    with pytest.raises(ValueError, match=r"`y` must be given: .*'softmax' compares an output"):
        fit(model, y=None)
    assert int(model.optimizer.iterations) == 0


def test_crossentropy_takes_a_column_of_classes_for_indices():
    inputs = keras.Input((3,))
    model = still(LossAwareModel(inputs, keras.layers.Softmax()(inputs)), loss="crossentropy")
    classes = np.arange(ROWS)[:, None] % 3
    exp = np.exp(X.astype("float64"))
    chosen = np.take_along_axis(exp / exp.sum(axis=1, keepdims=True), classes, axis=1)
    assert evaluate(model, X, classes)["loss"] == close(-np.mean(np.log(chosen)))


class Squares(keras.losses.Loss):
    """A loss as users write it, which aligns nothing."""

    def call(self, y_true, y_pred):
        return ops.mean(ops.square(y_true - y_pred), axis=-1)


@pytest.mark.parametrize("loss", ["mse", Squares()], ids=["string", "Loss"])
def test_a_column_of_targets_beside_flat_outputs_is_weighed_per_row(loss):
    inputs = keras.Input((3,))
    model = still(LossAwareModel(inputs, ops.sum(inputs, axis=-1)), loss=loss)
    expected = close(np.mean(WEIGHTS * SQUARES))
    assert evaluate(model, sample_weight=WEIGHTS)["loss"] == expected


# Weights of losses


def two_outputs():
    inputs = keras.Input((3,))
    return LossAwareModel(inputs, [dense(name="a")(inputs), dense(name="b")(inputs)])


def test_each_loss_of_an_output_has_the_weight_of_the_output():
    model = still(two_outputs(), loss=[["mse", "mae"], ["mse", "mae"]], loss_weights=[2.0, 3.0])
    logs = evaluate(model, y=[Y, 0 * Y])
    first, second = MSE + MAE, np.mean(SUMS**2) + np.mean(np.abs(SUMS))
    assert logs["loss"] == close(2 * first + 3 * second)


@pytest.mark.parametrize("weights", [[1.0], [1.0, 2.0, 3.0]], ids=["too few", "too many"])
def test_weights_that_fit_neither_losses_nor_outputs_are_refused(weights):
    def act():
        fit(still(two_outputs(), loss=["mse", "mse"], loss_weights=weights), y=[Y, Y])

    with pytest.raises(ValueError, match=rf"`loss_weights` must match.*{len(weights)}.* 2"):
        act()


# Keras's mask

TOKENS = np.array([[1, 2, 3], [1, 0, 0], [1, 2, 0], [2, 3, 1], [2, 0, 0], [3, 3, 0]])
TOKENS = np.concatenate([TOKENS, TOKENS[:4]])
MASK = TOKENS > 0
STEPS = np.random.default_rng(1).normal(size=TOKENS.shape).astype("float32")
STEP_WEIGHTS = np.random.default_rng(2).uniform(1, 3, size=TOKENS.shape).astype("float32")
STEP_SQUARES = (TOKENS - STEPS.astype("float64")) ** 2


def masked():
    """A model whose output is the token itself, masked where it is 0."""
    inputs = keras.Input((3,), dtype="int32")
    embed = keras.layers.Embedding(4, 1, mask_zero=True)
    model = LossAwareModel(inputs, embed(inputs))
    embed.set_weights([np.arange(4.0)[:, None]])
    return model


def test_an_output_that_is_aligned_with_its_targets_keeps_its_mask():
    model = still(masked(), loss=lambda y_true, y_pred: ops.square(y_true - y_pred))
    logs = evaluate(model, TOKENS, STEPS)
    assert logs["loss"] == close(np.sum(STEP_SQUARES * MASK) / np.sum(MASK))


def test_a_masked_loss_with_weights_counts_the_values_under_the_mask():
    model = still(masked(), loss="mse")
    logs = evaluate(model, TOKENS, STEPS[..., None], sample_weight=STEP_WEIGHTS)
    expected = np.sum(STEP_WEIGHTS * STEP_SQUARES * MASK) / np.sum(MASK)
    assert logs["loss"] == close(expected)


def test_a_masked_sum_is_averaged_over_the_epoch_by_rows():
    model = still(masked(), loss=keras.losses.MeanSquaredError(reduction="sum"))
    sums = [np.sum((STEP_SQUARES * MASK)[rows]) for rows in BATCHES]
    expected = (4 * sums[0] + 4 * sums[1] + 2 * sums[2]) / ROWS
    assert evaluate(model, TOKENS, STEPS[..., None])["loss"] == close(expected)
