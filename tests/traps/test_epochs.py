"""What goes wrong in Keras 3 with what is counted and logged, goes right here.

`TRAPS.md` lists them.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from keras_trainsteps import LossAwareModel, LossTerm, losses
from tests.toy import (
    BATCH,
    L2,
    MAE,
    MSE,
    ROWS,
    SQUARES,
    UNKNOWN_LENGTH,
    X,
    Y,
    close,
    fit,
    generator,
    hooked,
    network,
    pairs,
    squares,
    still,
    two_outputs,
    unknown_cardinality,
)


def scalar(x, y, y_pred):
    return {"squares": ops.mean(ops.square(y_pred - y))}


def term(x, y, y_pred):
    each = ops.square(y_pred - y)
    return {"squares": LossTerm(ops.sum(each), ops.cast(ops.size(each), each.dtype))}


EPOCH_MEANS = {
    "scalar": scalar,
    "values": squares,
    "term": term,
}


@pytest.mark.parametrize("hook", EPOCH_MEANS.values(), ids=EPOCH_MEANS)
def test_epoch_log_is_the_mean_over_rows_not_over_batches(hook):
    history = fit(still(network(hooked(hook))), epochs=2)
    assert history == {"loss": [close(MSE)] * 2, "squares": [close(MSE)] * 2}


@pytest.mark.parametrize("options", [{"loss": "mse"}, {}], ids=["compiled", "hook"])
def test_batch_logs_and_epoch_logs_agree(options):
    model = still(network() if options else network(hooked(squares)), **options)
    seen = []
    log = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(logs["loss"])
    )
    history = fit(model, callbacks=[log])
    running = [SQUARES[: BATCH * (n + 1)].mean() for n in range(3)]
    assert [float(value) for value in seen] == [close(value) for value in running]
    assert history["loss"] == [close(MSE)]


def test_epochs_of_a_compiled_side_input_loss_do_not_mix():
    """Weights change from epoch to epoch: each epoch logs its own loss."""
    queries = np.arange(ROWS) // 5
    model = network()
    loss = losses.PairwiseLogistic(query_ids="query_id")
    model.compile(keras.optimizers.SGD(0.5), loss=loss, run_eagerly=True)
    x = {"features": X, "query_id": queries}
    fit(model, x, batch_size=ROWS, epochs=3)
    scores = (X.astype("float64") @ model.get_weights()[0]).ravel()
    expected = np.mean(pairs(scores, Y[:, 0], queries))
    assert model.evaluate(x, Y, verbose=0) == close(expected)


@pytest.mark.parametrize("key", ["loss", "regularization"])
def test_a_term_may_not_be_called(key):
    model = still(network(hooked(lambda x, y, y_pred: {key: ops.mean(ops.square(y_pred - y))})))
    with pytest.raises(ValueError, match=rf"needs a name of its own.*Received: '{key}'"):
        fit(model)


def absolute(x, y, y_pred):
    return {"absolute": ops.abs(y_pred - y)}


@pytest.mark.parametrize(
    ("hook", "expected"), [(squares, MSE), (absolute, MAE)], ids=["squares", "absolute"]
)
def test_validation_and_evaluation_have_the_loss_of_training(hook, expected):
    model = still(network(hooked(hook)))
    history = fit(model, validation_data=(X, Y))
    assert (history["loss"], history["val_loss"]) == ([close(expected)], [close(expected)])
    assert model.evaluate(X, Y, verbose=0, batch_size=BATCH) == [close(expected)] * 2


@pytest.mark.parametrize("where", ["own", "compiled"])
def test_a_second_metric_called_loss_is_refused(where):
    tracker = keras.metrics.MeanSquaredError(name="loss")
    model = network(hooked(squares))
    if where == "own":
        model.loss_tracker = keras.metrics.Mean(name="loss")
    with pytest.raises(ValueError, match="loss"):
        fit(still(model, metrics=[tracker] if where == "compiled" else None))


def test_a_metric_of_the_model_named_as_a_term_is_refused():
    class WithMetric(LossAwareModel):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.own = keras.metrics.Mean(name="squares")

    with pytest.raises(ValueError, match=r"needs a name of its own.*'squares'"):
        fit(still(network(hooked(squares, base=WithMetric))))


def test_a_term_named_as_a_compiled_one_is_refused():
    model = still(network(hooked(lambda x, y, p: {"mae_loss": ops.square(p - y)})), loss="mae")
    with pytest.raises(ValueError, match=r"needs a name of its own.*'mae_loss'"):
        fit(model)


def test_loss_tracker_sees_losses_and_metrics_see_predictions():
    model = still(network(hooked(squares)), metrics=["mae"])
    history = fit(model)
    assert (history["loss"], history["mae"]) == ([close(MSE)], [close(MAE)])
    logged = model.evaluate(X, Y, verbose=0, return_dict=True)
    assert logged == {"loss": close(MSE), "squares": close(MSE), "mae": close(MAE)}


@pytest.mark.slow
def test_the_loss_is_listed_once_and_again_after_another_compile():
    model = still(network(hooked(squares)))
    for _ in range(2):
        still(model, metrics=["mae"])
        fit(model)
        names = [metric.name for metric in model.metrics]
        assert names == ["loss", "squares", "compile_metrics"]
        assert model.evaluate(X, Y, verbose=0) == [close(MSE), close(MSE), close(MAE)]


UNKNOWN = {"dataset": unknown_cardinality, "generator": generator}


@pytest.mark.parametrize("data", UNKNOWN.values(), ids=UNKNOWN)
@UNKNOWN_LENGTH
def test_data_of_unknown_length_trains_no_phantom_step(data):
    counted = tf.Variable(0)

    def hook(x, y, y_pred):
        counted.assign_add(1)
        return squares(x, y, y_pred)

    model = still(network(hooked(hook)), metrics=["mae"])
    history = model.fit(data(), shuffle=False, verbose=0).history
    assert history == {"loss": [close(MSE)], "squares": [close(MSE)], "mae": [close(MAE)]}
    assert (int(model.optimizer.iterations), int(counted)) == (ROWS // 2, ROWS // 2)
    logged = model.evaluate(data(), verbose=0, return_dict=True)
    assert logged == {"loss": close(MSE), "squares": close(MSE), "mae": close(MAE)}


@UNKNOWN_LENGTH
@pytest.mark.parametrize("options", [{"jit_compile": True}, {"steps_per_execution": 3}])
def test_other_ways_to_run_take_no_phantom_step(options):
    model = still(network(hooked(squares)), **options)
    history = model.fit(unknown_cardinality(), epochs=2, shuffle=False, verbose=0).history
    assert history["loss"] == [close(MSE)] * 2
    assert int(model.optimizer.iterations) == ROWS


@UNKNOWN_LENGTH
def test_weight_decay_and_penalties_follow_the_batches_alone():
    weights = []
    for known in (True, False):
        model = network(hooked(squares), kernel_regularizer=keras.regularizers.L2(0.1))
        model.compile(keras.optimizers.AdamW(0.1, weight_decay=0.5))
        data = unknown_cardinality()
        if known:
            data = data.apply(tf.data.experimental.assert_cardinality(ROWS // 2))
        model.fit(data, epochs=2, shuffle=False, verbose=0)
        weights.append(model.get_weights()[0].ravel().tolist())
    assert weights[0] == weights[1]


@pytest.mark.parametrize("shape", [(1,), (), (7, 2)], ids=["vector", "scalar", "table"])
def test_side_inputs_of_other_lengths_do_not_weigh_batches(shape):
    model = still(network(hooked(squares, side_inputs=["a_temp"])))
    rows = tf.data.Dataset.from_tensor_slices((X, Y)).batch(BATCH)
    data = rows.map(lambda x, y: ({"a_temp": tf.ones(shape), "features": x}, y))
    assert model.fit(data, shuffle=False, verbose=0).history["loss"] == [close(MSE)]
    assert model.evaluate(data, verbose=0)[0] == close(MSE)


@pytest.mark.parametrize("weights", [None, {"a": 10.0, "b": 1.0}], ids=["unweighted", "weighted"])
def test_component_losses_are_epoch_means_and_add_up(weights):
    model = still(two_outputs(), loss={"a": "mse", "b": "mae"}, loss_weights=weights)
    history = fit(model, y={"a": Y, "b": Y})
    assert (history["a_loss"], history["b_loss"]) == ([close(MSE)], [close(MAE)])
    assert history["loss"] == [close((weights["a"] if weights else 1) * MSE + MAE)]


def test_the_weight_of_an_output_counts_for_each_loss_on_it():
    weights = {"a": 2.0, "b": 3.0}
    model = still(two_outputs(), loss=[["mse", "mae"], "mae"], loss_weights=weights)
    history = fit(model, y=[Y, Y])
    assert history.pop("loss") == [close(2 * (MSE + MAE) + 3 * MAE)]
    each = {"a_mse_loss": [close(MSE)], "a_mae_loss": [close(MAE)], "b_loss": [close(MAE)]}
    assert history == each


LOSS_LISTS = {
    "unweighted": (None, 1, 1),
    "weights": ([2.0, 3.0], 2, 3),
    "weight by name": ({"mse": 2.0}, 2, 1),
}


@pytest.mark.parametrize(("weights", "a", "b"), LOSS_LISTS.values(), ids=LOSS_LISTS)
def test_a_list_of_losses_on_one_output_trains_all(weights, a, b):
    model = still(network(), loss=["mse", "mae"], loss_weights=weights)
    history = fit(model)
    assert history.pop("loss") == [close(a * MSE + b * MAE)]
    assert history == {"mse_loss": [close(MSE)], "mae_loss": [close(MAE)]}


UNKNOWN_WEIGHTS = {"typo": {"typo": 2.0}, "list": [1.0, 2.0]}


@pytest.mark.parametrize("weights", UNKNOWN_WEIGHTS.values(), ids=UNKNOWN_WEIGHTS)
def test_loss_weights_of_nothing_are_refused(weights):
    with pytest.raises(ValueError, match="`loss_weights`"):
        fit(still(network(hooked(squares)), loss_weights=weights))


def test_a_loss_weight_by_the_name_of_the_only_output_counts():
    model = still(network(name="score"), loss="mse", loss_weights={"score": 2.0})
    assert fit(model)["loss"] == [close(2 * MSE)]


def test_regularization_is_added_and_logged():
    model = still(network(hooked(squares), kernel_regularizer=keras.regularizers.L2(1.0)))
    history = fit(model, validation_data=(X, Y))
    for prefix in ("", "val_"):
        assert history[f"{prefix}regularization"] == [close(L2)]
        assert history[f"{prefix}loss"] == [close(MSE + L2)]


@pytest.mark.parametrize("options", [{}, {"loss": "mse"}], ids=["hook", "compiled"])
def test_compute_loss_has_the_added_losses(options):
    regularizer = keras.regularizers.L2(1.0)
    model = network if options else lambda **layer: network(hooked(squares), **layer)
    model = still(model(kernel_regularizer=regularizer), **options)
    assert float(model.compute_loss(X, Y, model(X))) == close(MSE + L2)


def test_metrics_start_anew_in_every_epoch():
    stock, model = network(keras.Model), network(hooked(squares))
    stock.compile(keras.optimizers.SGD(0.5), loss="mse", metrics=["mae"])
    model.compile(keras.optimizers.SGD(0.5), metrics=["mae"])
    assert fit(model, epochs=4)["mae"] == fit(stock, epochs=4)["mae"]


def test_train_and_test_may_have_terms_of_their_own():
    class Monitored(LossAwareModel):
        def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
            extra = {} if training else {"absolute": ops.abs(y_pred - y)}
            return {"squares": ops.square(y_pred - y), **extra}

    history = fit(still(network(Monitored)), validation_data=(X, Y), epochs=2)
    assert history["loss"] == [close(MSE)] * 2
    assert history["val_loss"] == [close(MSE + MAE)] * 2
    assert "absolute" not in history


def test_train_on_batch_returns_the_loss_of_its_batch():
    model = still(network(hooked(squares)))
    for first in (0, 4, 8):
        rows = slice(first, first + BATCH)
        expected = close(SQUARES[rows].mean())
        assert model.train_on_batch(X[rows], Y[rows]) == [expected] * 2
        assert model.test_on_batch(X[rows], Y[rows]) == [expected] * 2


class Evaluate(keras.callbacks.Callback):
    """Evaluates on other data in the middle of training."""

    def __init__(self, hook, batch):
        super().__init__()
        self.batch = batch
        setattr(self, hook, self.run)

    def run(self, batch, logs=None):
        if batch == self.batch:
            self.result = self.model.evaluate(3 * X, Y, verbose=0)[0]


@pytest.mark.parametrize(
    ("hook", "batch"),
    [
        ("on_epoch_begin", 0),
        ("on_train_batch_begin", 0),
        ("on_train_batch_begin", 1),
        ("on_train_batch_end", 1),
        ("on_epoch_end", 0),
    ],
)
def test_evaluate_within_a_callback_leaves_the_logs_of_training(hook, batch):
    callback = Evaluate(hook, batch)
    model = still(network(hooked(squares)), metrics=["mae"])
    history = fit(model, callbacks=[callback], epochs=2)
    mse, mae = [close(MSE)] * 2, [close(MAE)] * 2
    assert history == {"loss": mse, "squares": mse, "mae": mae}
    errors = 3 * X.astype("float64").sum(1) - Y[:, 0]
    assert callback.result == close(np.mean(errors**2))
