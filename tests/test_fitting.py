"""`fit`, `evaluate`, `predict` and the batch methods: what they read, refuse and leave alone."""

import threading

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from keras_trainsteps import LossAwareModel, losses, metrics
from tests.toy import (
    BATCH,
    MAE,
    MSE,
    ROWS,
    SQUARES,
    SUMS,
    WEIGHTS,
    X,
    Y,
    close,
    evaluate,
    fit,
    hooked,
    network,
    still,
)

TEXT = {"features": X, "query_id": np.array(list("aaaabbbbcc"))}
WHOLE = {**TEXT, "query_id": np.array([0, 0, 0, 0, 1, 1, 1, 1, 2, 2])}
LABELS = np.arange(ROWS)[:, None] % 3.0


def ranked(**options):
    """A model that logs a ranking metric."""
    return still(network(), loss="mse", metrics=[metrics.NDCG("query_id", **options)])


class EachBatch(keras.callbacks.Callback):
    """Calls `act(model)` after each batch of training."""

    def __init__(self, act):
        super().__init__()
        self.act = act

    def on_train_batch_end(self, batch, logs=None):
        self.act(self.model)


# Weights without targets


@pytest.mark.parametrize("method", ["fit", "evaluate"])
def test_weights_without_targets_are_refused(method):
    model = still(network(hooked(lambda x, y, y_pred: {"t": ops.square(y_pred)})))
    with pytest.raises(ValueError, match="`sample_weight` weighs the loss of targets"):
        getattr(model, method)(X, sample_weight=WEIGHTS, verbose=0)


# Arrays of text


def test_arrays_of_text_in_validation_data_are_read_as_in_x():
    def hook(x, y, y_pred):
        return {"t": tf.strings.to_number(x["text"]) * y_pred[:, 0]}

    model = still(network(hooked(hook, side_inputs=["text"])))
    x = {"features": X, "text": np.arange(ROWS).astype(str)}
    expected = np.mean(np.arange(ROWS) * SUMS)
    history = fit(model, x, validation_data=(x, Y))
    assert history["t"] == history["val_t"] == [close(expected)]


def test_predict_reads_arrays_of_text():
    model = still(network(hooked(lambda *_: {}, side_inputs=["query_id"])))
    np.testing.assert_array_equal(model.predict(TEXT, verbose=0), model.predict(X, verbose=0))


# Data of unknown length


@pytest.mark.filterwarnings("ignore:Your input ran out of data:UserWarning")
def test_evaluate_counts_no_batch_that_data_of_unknown_length_do_not_have():
    data = tf.data.Dataset.from_tensor_slices((X, Y)).filter(lambda x, y: True)
    model = still(network(), loss="mse", metrics=["mae"])
    logs = model.evaluate(data.batch(2, drop_remainder=True), verbose=0, return_dict=True)
    assert logs == {"loss": close(MSE), "mae": close(MAE)}


# Within `fit`


def test_train_on_batch_within_fit_leaves_the_logs_of_the_epoch():
    model = still(network(), loss="mse", metrics=["mae"])
    other = EachBatch(lambda model: model.train_on_batch(X[:2], 5 + Y[:2]))
    history = fit(model, callbacks=[other], epochs=2)
    assert history == {"loss": [close(MSE)] * 2, "mae": [close(MAE)] * 2}


def test_after_evaluate_within_fit_the_epoch_is_one_of_training():
    """The check for queries of one row each is made of training alone."""

    def hook(x, y, y_pred):
        return {"ranking": losses.list_mle(y, y_pred, query_ids=x["query_id"])}

    model = still(network(hooked(hook, side_inputs=["query_id"])))
    other = EachBatch(lambda model: evaluate(model, WHOLE, LABELS))
    lone = {"features": X, "query_id": np.arange(ROWS)}
    with pytest.raises(ValueError, match="every query had one row"):
        fit(model, lone, LABELS, callbacks=[other])


# Batch methods


@pytest.mark.parametrize("method", ["train_on_batch", "test_on_batch"])
def test_arrays_by_keyword_are_read_as_fit_reads_them(method):
    seen = []

    class Seen(LossAwareModel):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            seen.append([part.dtype.name for part in (x, y, sample_weight)])
            return ops.mean(sample_weight * ops.square(y - y_pred)[:, 0])

    parts = {"x": X, "y": Y, "sample_weight": WEIGHTS}
    doubles = {name: part.astype("float64") for name, part in parts.items()}
    getattr(still(network(Seen)), method)(**doubles)
    assert all(dtypes == ["float32"] * 3 for dtypes in seen)
    assert seen


# Queries that batches cut


@pytest.mark.parametrize("split", ["error", "count_parts"])
def test_without_shuffling_only_the_borders_of_batches_cut_queries(split):
    history = fit(ranked(split_queries=split), WHOLE, LABELS)  # warnings are errors
    assert history["loss"][0] >= 0


def test_the_warning_of_cut_queries_knows_the_batches_of_32_that_keras_makes():
    ids = np.arange(40)
    ids[32] = ids[31]
    x = {"features": np.ones((40, 3), "float32"), "query_id": ids}
    model = ranked(split_queries="count_parts")
    with pytest.warns(UserWarning, match="1 of 39 queries of `query_id` have rows"):
        model.fit(x, np.ones((40, 1)), shuffle=False, verbose=0)


# Errors that are not of the library


@pytest.mark.parametrize("method", ["fit", "evaluate"])
def test_errors_of_tensorflow_pass_through(method):
    def hook(x, y, y_pred):
        with tf.control_dependencies(
            [tf.debugging.Assert(tf.reduce_all(y > 1e9), ["too small"])]
        ):
            return {"t": tf.identity(y_pred)}

    model = still(network(hooked(hook)))
    with pytest.raises(tf.errors.InvalidArgumentError, match="too small"):
        getattr(model, method)(X, Y, batch_size=BATCH, verbose=0)


def of_unknown_length(kind):
    if kind == "dataset":
        return tf.data.Dataset.from_tensor_slices((X, Y)).filter(lambda *_: True).batch(4)
    return ((X[rows], Y[rows]) for rows in [slice(0, 4), slice(4, 8), slice(8, 10)] * 9)


@pytest.mark.filterwarnings("ignore:Your input ran out of data:UserWarning")
@pytest.mark.parametrize("kind", ["dataset", "generator"])
def test_validation_data_of_unknown_length_leave_the_training_alone(kind):
    options = {"validation_steps": 3} if kind == "generator" else {}
    data = of_unknown_length(kind)
    history = fit(still(network(), loss="mse"), epochs=3, validation_data=data, **options)
    assert history["loss"] == [close(MSE)] * 3
    assert history["val_loss"][0] == close(MSE)  # a generator goes on where it was
    assert len(history["val_loss"]) == 3


@pytest.mark.filterwarnings("ignore:Your input ran out of data:UserWarning")
def test_evaluation_of_unknown_length_between_batches_leaves_the_training_alone():
    model = still(network(), loss="mse")
    found = []
    evaluates = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: found.append(
            model.evaluate(of_unknown_length("dataset"), verbose=0)
        )
    )
    assert fit(model, callbacks=[evaluates]) == {"loss": [close(MSE)]}
    assert found == [close(MSE)] * 3


def test_a_fit_within_fit_leaves_the_rest_of_the_outer_one_a_fit():
    model = still(network(), loss="mse")

    class Inner(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            model.fit(X[:4], Y[:4], verbose=0)

        def on_train_batch_end(self, batch, logs=None):
            model.evaluate(X[:4], Y[:4], verbose=0)
            with pytest.raises(ValueError, match="before or after `fit`"):
                model.add_loss(1.0)

    both = (SQUARES[:4].sum() + SQUARES.sum()) / 14  # Keras does not start anew in between
    assert fit(model, callbacks=[Inner()]) == {"loss": [close(both)]}


# One thread


@pytest.mark.parametrize(
    "other",
    [
        lambda model: model.fit(X, Y, verbose=0),
        lambda model: model.evaluate(X, Y, verbose=0),
        lambda model: model.train_on_batch(X, Y),
        lambda model: model.test_on_batch(X, Y),
    ],
    ids=["fit", "evaluate", "train_on_batch", "test_on_batch"],
)
@pytest.mark.parametrize("while_it", ["fit", pytest.param("evaluate", marks=pytest.mark.slow)])
def test_a_second_thread_that_counts_is_refused(while_it, other):
    found = []

    def in_a_thread(model):
        def call():
            with pytest.raises(ValueError, match=r"one thread at a time.*another thread trains"):
                other(model)
            found.append(model.predict(X, verbose=0).shape)

        thread = threading.Thread(target=call)
        thread.start()
        thread.join()

    callback = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: in_a_thread(model),
        on_test_batch_end=lambda batch, logs: in_a_thread(model),
    )
    model = still(network(), loss="mse", run_eagerly=True)
    run = fit if while_it == "fit" else evaluate
    logs = run(model, callbacks=[callback])
    assert logs == {"loss": [close(MSE)] if while_it == "fit" else close(MSE)}
    assert found == [(ROWS, 1)] * 3
    other(model)  # from any thread, once the other has ended
