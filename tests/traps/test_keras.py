"""Keras still has the traps that the library works around.

Each test fails when Keras has mended its trap: then the workaround can go, and its row of
`TRAPS.md` too. Seen in Keras 3.15.1.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from tests.toy import (
    BATCH,
    BATCHES,
    MSE,
    ROWS,
    SQUARES,
    SUMS,
    X,
    Y,
    close,
    fit,
    generator,
    network,
    still,
    two_outputs,
    unknown_cardinality,
)


class Rank(keras.losses.Loss):
    """A loss as users write it: nothing aligns its shapes."""

    def call(self, y_true, y_pred):
        return ops.mean(ops.square(y_true - y_pred), axis=-1)


def phantom_step():
    model = still(network(keras.Model), loss="mse")
    model.fit(generator(), shuffle=False, verbose=0)
    assert int(model.optimizer.iterations) == ROWS // 2 + 1


def phantom_batch():
    model = still(network(keras.Model), loss="mse")
    history = model.fit(unknown_cardinality(), shuffle=False, verbose=0).history
    batches = ROWS // 2
    assert history["loss"] == [close(MSE * batches / (batches + 1))]


def first_leaf():
    inputs = {"a_temp": keras.Input((), name="a_temp"), "x": keras.Input((3,), name="x")}
    model = keras.Model(inputs, ops.sum(inputs["x"], axis=1, keepdims=True))
    rows = tf.data.Dataset.from_tensor_slices((X, Y)).batch(BATCH)
    data = rows.map(lambda x, y: ({"a_temp": tf.ones((1,)), "x": x}, y))
    still(model, loss="mse")
    batches = [SQUARES[rows].mean() for rows in BATCHES]
    assert model.evaluate(data, verbose=0) == close(np.mean(batches))


def components():
    model = still(two_outputs(keras.Model), loss={"a": "mse", "b": "mse"})
    history = fit(model, y={"a": Y, "b": Y})
    batches = [SQUARES[rows].mean() for rows in BATCHES]
    assert history["a_loss"] == [close(np.mean(batches))]
    assert history["loss"] == [close(2 * MSE)]


def second_loss():
    history = fit(still(network(keras.Model, name="score"), loss=["mse", "mae"]))
    assert history == {"loss": [close(MSE)], "score_loss": [0.0]}


def evaluate_within():
    model = still(network(keras.Model), loss="mse")
    evaluate = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: batch == 1 and model.evaluate(X, Y, verbose=0)
    )
    after = (MSE * ROWS + SQUARES[8:].sum()) / (ROWS + 2)
    assert fit(model, callbacks=[evaluate])["loss"] == [close(after)]


def wrong_tensor():
    inputs = {"x": keras.Input((3,), name="x"), "z": keras.Input((3,), name="z")}
    model = keras.Model(inputs, ops.sum(inputs["x"], axis=1))
    batch = {"a_mask": 0 * X, "x": X, "z": X}
    with pytest.warns(UserWarning, match="structure of `inputs` doesn't match"):
        predicted = model.predict(batch, verbose=0)
    assert predicted.tolist() == [0.0] * ROWS != SUMS.tolist()


def first_key():
    model = still(network(keras.Model), metrics=["mae"])
    group = 1000.0 + np.arange(ROWS)[:, None]
    logs = model.compute_metrics(X, {"group": group, "label": Y}, model(X))
    assert float(logs["mae"]) == close(np.mean(np.abs(group[:, 0] - SUMS)))


def all_rows_by_all_rows():
    model = still(network(keras.Model), loss=Rank())
    grid = np.square(Y[:, 0].astype("float64")[None, :] - SUMS[:, None])
    assert fit(model, y=Y[:, 0], batch_size=ROWS)["loss"] == [close(grid.mean())]


def float_ids():
    seen = []

    def record(y_true, y_pred):
        seen.append(int(y_true[0, 0]))
        return ops.mean(ops.square(y_pred), axis=-1)

    model = still(network(keras.Model), loss=record, run_eagerly=True)
    fit(model, y=np.full((ROWS, 1), 2**24 + 1), batch_size=ROWS)
    assert seen == [2**24]


def mean_of_weighted_means():
    weights = np.arange(ROWS) + 1.0
    loss = keras.losses.MeanSquaredError(reduction="mean_with_sample_weight")
    model = still(network(keras.Model), loss=loss, weighted_metrics=["mse"])
    history = fit(model, sample_weight=weights)
    means = [np.average(SQUARES[rows], weights=weights[rows]) for rows in BATCHES]
    assert history["loss"] == [close(np.average(means, weights=[4, 4, 2]))]
    assert history["mse"] == [close(np.average(SQUARES, weights=weights))]


TRAPS = {
    "a phantom step": phantom_step,
    "a phantom batch in the log": phantom_batch,
    "batches weigh as the first entry of x": first_leaf,
    "losses of outputs are means over batches": components,
    "a second loss on one output is dropped": second_loss,
    "evaluate resets the metrics of training": evaluate_within,
    "an extra entry shifts the inputs": wrong_tensor,
    "metrics read the first target": first_key,
    "rows meet a column": all_rows_by_all_rows,
    "ids are float32": float_ids,
    "a mean of weighted means": mean_of_weighted_means,
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Your input ran out of data")  # it did not know the end
@pytest.mark.parametrize("trap", TRAPS.values(), ids=TRAPS)
def test_keras_still_has_the_trap(trap):
    trap()
