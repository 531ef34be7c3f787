"""The parts of a batch as the step and the hook see them."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from keras_trainsteps import LossAwareModel, metrics
from tests.toy import BATCHES, SQUARES, SUMS, X, Y, close, evaluate, hooked, network, still


def test_a_scalar_target_does_not_count_as_rows():
    parts = [
        tf.data.Dataset.from_tensors((X[rows], {"a_scale": np.float32(2.0), "label": Y[rows]}))
        for rows in (BATCHES[0], BATCHES[2])
    ]
    data = parts[0].concatenate(parts[1])

    def hook(x, y, y_pred):
        return {"largest": y["a_scale"] * ops.max(ops.square(y["label"] - y_pred))}

    history = still(network(hooked(hook))).fit(data, verbose=0).history
    largest = [2 * SQUARES[rows].max() for rows in (BATCHES[0], BATCHES[2])]
    assert history["loss"] == [close((4 * largest[0] + 2 * largest[1]) / (4 + 2))]


def test_arrays_are_checked_in_the_batches_of_32_that_keras_makes():
    ids = np.arange(40)
    ids[32] = ids[31]
    x = {"features": np.ones((40, 3), "float32"), "query_id": ids}
    model = still(network(), loss="mse", metrics=[metrics.NDCG("query_id")])
    with pytest.raises(ValueError, match="rows of 1 of 39 queries of `query_id` in two batches"):
        model.evaluate(x, np.ones((40, 1)), verbose=0)


def test_the_hook_sees_the_mask_of_an_output_that_was_float16():
    absolute = keras.losses.MeanAbsoluteError(reduction="sum")
    tokens = np.array([[1, 2, 0, 0], [3, 0, 0, 0], [1, 1, 1, 0]])
    keras.config.set_dtype_policy("mixed_float16")
    try:
        inputs = keras.Input((4,), dtype="int32")
        embedded = keras.layers.Embedding(4, 2, mask_zero=True, embeddings_initializer="ones")(
            inputs
        )
        outputs = keras.layers.Dense(1, kernel_initializer="ones")(embedded)
    finally:
        keras.config.set_dtype_policy("float32")
    model = hooked(lambda x, y, y_pred: {"absolute": absolute(y, y_pred)})(inputs, outputs)
    still(model)
    logs = evaluate(model, tokens, np.zeros((3, 4, 1)), batch_size=3)
    assert logs["absolute"] == np.sum(tokens > 0) * 2.0


def test_targets_of_the_hook_are_float64_with_any_output_of_float64():
    seen = {}

    def hook(x, y, y_pred):
        seen["y"] = [target.dtype for target in y]
        seen["y_pred"] = [output.dtype for output in y_pred]
        return {"sum": ops.sum(y_pred[0])}

    inputs = keras.Input((3,))
    outputs = [keras.layers.Dense(1, dtype=dtype)(inputs) for dtype in ("float32", "float64")]
    evaluate(still(hooked(hook)(inputs, outputs)), y=[Y, Y])
    assert seen == {"y": [tf.float64, tf.float64], "y_pred": [tf.float32, tf.float64]}


def test_a_column_of_one_row_is_no_matrix_of_all_rows():
    def hook(x, y, y_pred):
        return {"column": ops.mean(ops.square(y - y_pred), axis=-1, keepdims=True)}

    inputs = keras.Input((3,))
    model = still(hooked(hook)(inputs, keras.layers.Identity()(inputs)), run_eagerly=True)
    logs = evaluate(model, X[:1], np.zeros((1, 3)))
    assert logs["column"] == close(np.mean(X[0].astype("float64") ** 2))


def test_a_mean_weighs_as_the_rows_of_the_output_where_there_are_no_targets():
    class Tracked(LossAwareModel):
        side_inputs = ("a",)

        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.largest = keras.metrics.Mean(name="largest")

        def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
            self.largest.update_state(keras.ops.max(y_pred))
            return {"size": keras.ops.abs(y_pred)}

    model = still(network(Tracked))
    parts = [X[:6], X[6:8]]
    batches = [({"a": np.zeros((1,), "float32"), "features": part},) for part in parts]
    logs = [model.test_on_batch(*batch, return_dict=True) for batch in batches]
    assert len(logs) == 2
    data = tf.data.Dataset.from_generator(
        lambda: iter(batches),
        output_signature=(
            {
                "a": tf.TensorSpec((1,), "float32"),
                "features": tf.TensorSpec((None, 3), "float32"),
            },
        ),
    ).apply(tf.data.experimental.assert_cardinality(2))
    found = model.evaluate(data, verbose=0, return_dict=True)
    largest = [SUMS[:6].max(), SUMS[6:8].max()]
    assert found["largest"] == close((6 * largest[0] + 2 * largest[1]) / 8)
