"""Losses of Keras on one output: weights that meet their values, masks, own reductions."""

import keras
import numpy as np
import pytest

from keras_trainsteps import LossAwareModel
from tests.toy import close, hooked, still

ROWS, STEPS = 4, 4  # as many rows as steps: a wrong axis would broadcast
rng = np.random.default_rng(1)
X = rng.normal(size=(ROWS, STEPS, 3)).astype("float32")
Y = rng.normal(size=(ROWS, STEPS, 1)).astype("float32")
SQUARES = (X.astype("float64").sum(axis=2) - Y[..., 0]) ** 2
BY_ROW = rng.uniform(1, 3, size=ROWS).astype("float32")
BY_STEP = rng.uniform(1, 3, size=(ROWS, STEPS)).astype("float32")


class Squares(keras.losses.Loss):
    def call(self, y_true, y_pred):
        return keras.ops.mean(keras.ops.square(y_true - y_pred), axis=-1)


def by_hook(x, y, y_pred):
    return {"squares": keras.ops.squeeze(keras.ops.square(y - y_pred), -1)}


LOSSES = {
    "name": "mse",
    "object": Squares(),
    "function": lambda y, p: keras.ops.mean(keras.ops.square(y - p), axis=-1),
    "hook": None,
}
WEIGHTS = {
    "per row": (BY_ROW, BY_ROW[:, None]),
    "per row, a column": (BY_ROW[:, None], BY_ROW[:, None]),
    "per value": (BY_STEP, BY_STEP),
    "per value, a last axis of one": (BY_STEP[..., None], BY_STEP),
}


def sequence_model(loss, **options):
    cls = hooked(by_hook) if loss is None else LossAwareModel
    inputs = keras.Input((STEPS, 3))
    model = cls(inputs, keras.layers.Dense(1, kernel_initializer="ones")(inputs))
    return still(model, loss=loss, **options)


MODES = {"graph": {}, "eager": {"run_eagerly": True}, "xla": {"jit_compile": True}}
KINDS = [(loss, "graph") for loss in LOSSES]  # the mode matters little to the kind of loss
KINDS += [(loss, "eager") for loss in ("name", "hook")]
KINDS += [pytest.param(loss, "xla", marks=pytest.mark.slow) for loss in ("name", "hook")]


@pytest.mark.parametrize(("weight", "column"), WEIGHTS.values(), ids=WEIGHTS)
@pytest.mark.parametrize(("loss", "mode"), KINDS)
def test_a_weight_meets_the_values_of_its_row(loss, mode, weight, column):
    model = sequence_model(LOSSES[loss], **MODES[mode])
    logs = model.evaluate(X, Y, sample_weight=weight, verbose=0, return_dict=True)
    assert logs["loss"] == close(np.mean(column.astype("float64") * SQUARES))


@pytest.mark.parametrize("loss", LOSSES)
def test_weights_of_another_shape_are_refused(loss):
    model = sequence_model(LOSSES[loss])
    with pytest.raises(ValueError, match=r"one weight per row of .* Received: shape"):
        model.fit(X, Y, sample_weight=np.ones((ROWS, 3)), verbose=0)


TOKENS = np.array([[1, 2, 0], [3, 0, 0], [1, 1, 4], [2, 0, 0]])
TARGETS = rng.normal(size=(4, 3, 1)).astype("float32")


class OwnCall(keras.losses.Loss):
    """Reduces by itself, and has no `call`."""

    def __call__(self, y_true, y_pred, sample_weight=None):
        return keras.ops.mean(keras.ops.abs(y_true - y_pred))


def mean_of_all(y_true, y_pred):
    return keras.ops.mean(keras.ops.abs(y_true - y_pred))


@pytest.mark.parametrize("loss", [mean_of_all, OwnCall()], ids=["function", "own call"])
def test_a_loss_that_reduces_by_itself_is_averaged_by_rows_also_under_a_mask(loss):
    inputs = keras.Input((3,), dtype="int32")
    embedded = keras.layers.Embedding(5, 2, mask_zero=True)(inputs)
    model = still(LossAwareModel(inputs, keras.layers.Dense(1)(embedded)), loss=loss)
    found = model.evaluate(TOKENS, TARGETS, batch_size=3, verbose=0)
    scores = model.predict(TOKENS, verbose=0).astype("float64")
    error = np.abs(scores - TARGETS)
    assert found == close((3 * error[:3].mean() + error[3:].mean()) / 4)


@pytest.mark.parametrize("loss", ["mse", Squares()], ids=["name", "object"])
def test_a_mask_fits_values_whose_targets_lack_the_last_axis(loss):
    inputs = keras.Input((3,), dtype="int32")
    embedded = keras.layers.Embedding(5, 2, mask_zero=True)(inputs)
    model = still(LossAwareModel(inputs, keras.layers.Dense(1)(embedded)), loss=loss)
    found = model.evaluate(TOKENS, TARGETS[..., 0], batch_size=3, verbose=0)
    scores = model.predict(TOKENS, verbose=0).astype("float64")
    kept = TOKENS != 0
    assert found == close(np.mean(((scores - TARGETS)[..., 0] ** 2)[kept]))


def scores_under_a_mask(**options):
    inputs = keras.Input((3,), dtype="int32")
    embedded = keras.layers.Embedding(5, 2, mask_zero=True)(inputs)
    model = still(LossAwareModel(inputs, keras.layers.Dense(1)(embedded)), **options)
    error = np.abs(model.predict(TOKENS, verbose=0).astype("float64") - TARGETS)
    return model, error[..., 0], TOKENS != 0


# Three rows in the first batch: as many as there are steps.
BY_ROWS = np.array([1.0, 3.0, 0.5, 2.0], "float32")


@pytest.mark.parametrize("rows", [slice(0, 3), slice(0, 4)], ids=["as steps", "more"])
def test_weights_of_rows_meet_the_mask_of_a_loss_that_reduces_by_itself(rows):
    model, error, kept = scores_under_a_mask(loss=mean_of_all)
    error, kept, weights = error[rows], kept[rows], BY_ROWS[rows]
    found = model.evaluate(TOKENS[rows], TARGETS[rows], sample_weight=weights, verbose=0)
    assert found == close(np.sum(weights[:, None] * kept) / np.sum(kept) * error.mean())


@pytest.mark.parametrize("rows", [slice(0, 3), slice(0, 4)], ids=["as steps", "more"])
def test_weights_of_rows_meet_the_mask_in_weighted_metrics(rows):
    model, error, kept = scores_under_a_mask(loss="mae", weighted_metrics=["mae"])
    error, kept, weights = error[rows], kept[rows], BY_ROWS[rows]
    weighed = weights[:, None] * kept
    logs = model.evaluate(
        TOKENS[rows], TARGETS[rows], sample_weight=weights, verbose=0, return_dict=True
    )
    assert logs["mae"] == close(np.sum(weighed * error) / np.sum(weighed))


@pytest.mark.parametrize("masked", [True, False])
def test_a_mean_by_weights_of_rows_is_over_all_values(masked):
    mean = keras.losses.MeanAbsoluteError(reduction="mean_with_sample_weight")
    inputs = keras.Input((3,), dtype="int32")
    embedded = keras.layers.Embedding(5, 2, mask_zero=masked)(inputs)
    model = still(LossAwareModel(inputs, keras.layers.Dense(1)(embedded)), loss=mean)
    error = np.abs(model.predict(TOKENS, verbose=0).astype("float64") - TARGETS)[..., 0]
    weighed = BY_ROWS[:, None] * ((TOKENS != 0) if masked else np.ones(TOKENS.shape))
    found = model.evaluate(TOKENS, TARGETS, sample_weight=BY_ROWS, verbose=0, batch_size=3)
    assert found == close(np.sum(weighed * error) / np.sum(weighed))


def test_a_logged_loss_beyond_float16_is_finite_under_floatx_float16():
    keras.config.set_floatx("float16")
    try:
        inputs = keras.Input((1,))
        model = still(LossAwareModel(inputs, keras.layers.Identity()(inputs)), loss="mae")
        with_hook = still(hooked(lambda x, y, y_pred: {"t": 1e5 + 0 * y_pred})(inputs, inputs))
        rows = np.ones((4, 1), "float32")
        assert model.evaluate(rows, 0 * rows, verbose=0) == 1.0
        logs = with_hook.evaluate(rows, rows, verbose=0, return_dict=True)
    finally:
        keras.config.set_floatx("float32")
    assert logs == {"loss": close(1e5), "t": close(1e5)}
