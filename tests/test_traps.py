"""What goes wrong in Keras 3 around epoch logs, goes right here.

Each parameter is named by its row of the table of traps ("1.3": section 1, row 3). This
file holds the toy problem and the rows about what is counted and logged; the others are in
`test_traps_inputs.py`, `test_traps_targets.py`, `test_traps_weights.py` and
`test_traps_models.py`. `test_traps_keras.py` shows that Keras still has the traps.

Rows that are not here:
- 1.12, 1.13, 1.14 (`add_loss` of symbolic tensors and numbers, `add_metric`), 1.37, 2.40
  (several optimizers): another issue.
- 1.38, 1.39 (warm start, optimizers tied to variables), 1.42, 2.35 (gradient
  accumulation), 1.44 (export; its `evaluate` is here): other issues.
- 1.25, 1.26, 1.27, 2.19, 2.20, 2.21, 2.22 (`tf.distribute`): the tests of replicas.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from keras_trainsteps import LossAwareModel, LossTerm, losses

ROWS, BATCH = 10, 4
rng = np.random.default_rng(0)
X = rng.normal(size=(ROWS, 3)).astype("float32")
Y = (2 * rng.normal(size=(ROWS, 1))).astype("float32")
ERRORS = X.astype("float64").sum(1) - Y[:, 0].astype("float64")
SQUARES, MSE, MAE = ERRORS**2, float(np.mean(ERRORS**2)), float(np.mean(np.abs(ERRORS)))
L2 = 3.0  # of a kernel of three ones


def close(expected, rel=1e-5):
    return pytest.approx(expected, rel=rel, abs=1e-6)


def dense(**options):
    return keras.layers.Dense(1, use_bias=False, kernel_initializer="ones", **options)


def network(cls=LossAwareModel, **options):
    """A Functional model that adds up the three entries of `features`."""
    inputs = keras.Input((3,), name="features")
    return cls(inputs, dense(**options)(inputs))


def hooked(hook, *, base=LossAwareModel, side_inputs=(), **options):
    """`network` of a class whose hook is `hook(x, y, y_pred, sample_weight)`."""

    def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
        return hook(x, y, y_pred, sample_weight)

    names = {"compute_losses": compute_losses, "side_inputs": tuple(side_inputs)}
    return network(type("Hooked", (base,), names), **options)


def still(model, **options):
    """Compiles with a learning rate of 0, so that every epoch sees the same weights."""
    model.compile(keras.optimizers.SGD(0.0), **options)
    return model


def fit(model, x=X, y=Y, **options):
    options = {"batch_size": BATCH, "shuffle": False, "verbose": 0, **options}
    return model.fit(x, y, **options).history


def squares(x, y, y_pred, sample_weight):
    return {"squares": ops.square(y_pred - y)}


def scalar(x, y, y_pred, sample_weight):
    return {"squares": ops.mean(ops.square(y_pred - y))}


def term(x, y, y_pred, sample_weight):
    each = ops.square(y_pred - y)
    return {"squares": LossTerm(ops.sum(each), ops.cast(ops.size(each), each.dtype))}


def unknown_cardinality(x, y):
    """Static batches, and nobody knows how many."""
    data = tf.data.Dataset.from_tensor_slices((x, y)).filter(lambda *_: True)
    return data.batch(2, drop_remainder=True)


def generator():
    for first in range(0, ROWS, 2):
        yield X[first : first + 2], Y[first : first + 2]


EPOCH_MEANS = {
    "1.4-2.1-2.2-scalar": scalar,
    "1.7-2.3-values": squares,
    "1.7-2.3-term": term,
}


@pytest.mark.parametrize("hook", EPOCH_MEANS.values(), ids=EPOCH_MEANS)
def test_epoch_log_is_the_mean_over_rows_not_over_batches(hook):
    history = fit(still(hooked(hook)), epochs=2)
    assert history == {"loss": [close(MSE)] * 2, "squares": [close(MSE)] * 2}


@pytest.mark.parametrize("options", [{"loss": "mse"}, {}], ids=["2.4-compiled", "2.4-hook"])
def test_batch_logs_and_epoch_logs_agree(options):
    model = still(network() if options else hooked(squares), **options)
    seen = []
    log = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(logs["loss"])
    )
    history = fit(model, callbacks=[log])
    running = [SQUARES[: BATCH * (n + 1)].mean() for n in range(3)]
    assert [float(value) for value in seen] == [close(value) for value in running]
    assert history["loss"] == [close(MSE)]


def test_1_7_epochs_of_a_compiled_side_input_loss_do_not_mix():
    """Weights change from epoch to epoch: each epoch logs its own loss."""
    queries = np.arange(ROWS) // 5
    model = network()
    loss = losses.PairwiseLogistic(query_ids="query_id")
    model.compile(keras.optimizers.SGD(0.5), loss=loss, run_eagerly=True)
    x = {"features": X, "query_id": queries}
    fit(model, x, batch_size=ROWS, epochs=3)
    scores = (X.astype("float64") @ model.get_weights()[0]).ravel()
    each = [
        np.log1p(np.exp(scores[j] - scores[i]))
        for i in range(ROWS)
        for j in range(ROWS)
        if queries[i] == queries[j] and Y[i] > Y[j]
    ]
    assert model.evaluate(x, Y, verbose=0) == close(np.mean(each))


@pytest.mark.parametrize("key", ["loss", "regularization"], ids=["1.4", "2.1"])
def test_a_term_may_not_be_called(key):
    model = still(hooked(lambda x, y, y_pred, w: {key: ops.mean(ops.square(y_pred - y))}))
    with pytest.raises(ValueError, match=rf"needs a name of its own.*Received: '{key}'"):
        fit(model)


@pytest.mark.parametrize("row", ["1.5-2.7-2.8", "2.9"])
def test_validation_and_evaluation_have_the_loss_of_training(row):
    def absolute(x, y, y_pred, sample_weight):
        return {"absolute": ops.abs(y_pred - y)}

    model = still(hooked(absolute if row == "2.9" else squares))
    history = fit(model, validation_data=(X, Y))
    expected = MAE if row == "2.9" else MSE
    assert (history["loss"], history["val_loss"]) == ([close(expected)], [close(expected)])
    assert model.evaluate(X, Y, verbose=0, batch_size=BATCH) == [close(expected)] * 2


@pytest.mark.parametrize("where", ["own", "compiled"])
def test_1_5_a_second_metric_called_loss_is_refused(where):
    tracker = keras.metrics.MeanSquaredError(name="loss")
    model = hooked(squares)
    if where == "own":
        model.loss_tracker = keras.metrics.Mean(name="loss")
    with pytest.raises(ValueError, match="loss"):
        fit(still(model, metrics=[tracker] if where == "compiled" else None))


def test_1_5_a_metric_of_the_model_named_as_a_term_is_refused():
    class WithMetric(LossAwareModel):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.own = keras.metrics.Mean(name="squares")

    with pytest.raises(ValueError, match=r"needs a name of its own.*'squares'"):
        fit(still(hooked(squares, base=WithMetric)))


def test_1_5_a_term_named_as_a_compiled_one_is_refused():
    model = still(hooked(lambda x, y, p, w: {"mae_loss": ops.square(p - y)}), loss="mae")
    with pytest.raises(ValueError, match=r"needs a name of its own.*'mae_loss'"):
        fit(model)


def test_1_6_2_5_2_6_loss_tracker_sees_losses_and_metrics_see_predictions():
    model = still(hooked(squares), metrics=["mae"])
    history = fit(model)
    assert (history["loss"], history["mae"]) == ([close(MSE)], [close(MAE)])
    logged = model.evaluate(X, Y, verbose=0, return_dict=True)
    assert logged == {"loss": close(MSE), "squares": close(MSE), "mae": close(MAE)}


def test_2_5_the_loss_is_listed_once_and_again_after_another_compile():
    model = still(hooked(squares))
    for _ in range(2):
        still(model, metrics=["mae"])
        fit(model)
        names = [metric.name for metric in model.metrics]
        assert names == ["loss", "squares", "compile_metrics"]
        assert model.evaluate(X, Y, verbose=0) == [close(MSE), close(MSE), close(MAE)]


# Keras says so of every end of data that it did not know of.
UNKNOWN_LENGTH = pytest.mark.filterwarnings("ignore:Your input ran out of data")
# Batches of four rows that cut queries are what these tests want; the library warns of it.
CUT_QUERIES = pytest.mark.filterwarnings("ignore:.* queries of .* have rows that:UserWarning")
STEPS = {"1.2-2.27": unknown_cardinality, "1.3-2.28": lambda x, y: generator()}


@pytest.mark.parametrize("data", STEPS.values(), ids=STEPS)
@UNKNOWN_LENGTH
def test_data_of_unknown_length_trains_no_phantom_step(data):
    counted = tf.Variable(0)

    def hook(x, y, y_pred, sample_weight):
        counted.assign_add(1)
        return squares(x, y, y_pred, sample_weight)

    model = still(hooked(hook), metrics=["mae"])
    history = model.fit(data(X, Y), shuffle=False, verbose=0).history
    assert history == {"loss": [close(MSE)], "squares": [close(MSE)], "mae": [close(MAE)]}
    assert (int(model.optimizer.iterations), int(counted)) == (ROWS // 2, ROWS // 2)
    logged = model.evaluate(data(X, Y), verbose=0, return_dict=True)
    assert logged == {"loss": close(MSE), "squares": close(MSE), "mae": close(MAE)}


@UNKNOWN_LENGTH
@pytest.mark.parametrize("options", [{"jit_compile": True}, {"steps_per_execution": 3}])
def test_2_27_other_ways_to_run_take_no_phantom_step(options):
    model = still(hooked(squares), **options)
    history = model.fit(unknown_cardinality(X, Y), epochs=2, shuffle=False, verbose=0).history
    assert history["loss"] == [close(MSE)] * 2
    assert int(model.optimizer.iterations) == ROWS


@UNKNOWN_LENGTH
def test_2_28_weight_decay_and_penalties_follow_the_batches_alone():
    weights = []
    for known in (True, False):
        model = hooked(squares, kernel_regularizer=keras.regularizers.L2(0.1))
        model.compile(keras.optimizers.AdamW(0.1, weight_decay=0.5))
        data = unknown_cardinality(X, Y)
        if known:
            data = data.apply(tf.data.experimental.assert_cardinality(ROWS // 2))
        model.fit(data, epochs=2, shuffle=False, verbose=0)
        weights.append(model.get_weights()[0].ravel().tolist())
    assert weights[0] == weights[1]


@pytest.mark.parametrize("shape", [(1,), (), (7, 2)], ids=["2.29", "1.8-scalar", "1.8-table"])
def test_side_inputs_of_other_lengths_do_not_weigh_batches(shape):
    model = still(hooked(squares, side_inputs=["a_temp"]))
    rows = tf.data.Dataset.from_tensor_slices((X, Y)).batch(BATCH)
    data = rows.map(lambda x, y: ({"a_temp": tf.ones(shape), "features": x}, y))
    assert model.fit(data, shuffle=False, verbose=0).history["loss"] == [close(MSE)]
    assert model.evaluate(data, verbose=0)[0] == close(MSE)


def two_outputs(cls=LossAwareModel):
    inputs = keras.Input((3,))
    return cls(inputs, [dense(name="a")(inputs), dense(name="b")(inputs)])


@pytest.mark.parametrize("weights", [None, {"a": 10.0, "b": 1.0}], ids=["2.33", "1.9"])
def test_component_losses_are_epoch_means_and_add_up(weights):
    model = still(two_outputs(), loss={"a": "mse", "b": "mae"}, loss_weights=weights)
    history = fit(model, y={"a": Y, "b": Y})
    assert (history["a_loss"], history["b_loss"]) == ([close(MSE)], [close(MAE)])
    assert history["loss"] == [close((weights["a"] if weights else 1) * MSE + MAE)]


def test_1_9_the_weight_of_an_output_counts_for_each_loss_on_it():
    weights = {"a": 2.0, "b": 3.0}
    model = still(two_outputs(), loss=[["mse", "mae"], "mae"], loss_weights=weights)
    history = fit(model, y=[Y, Y])
    assert history.pop("loss") == [close(2 * (MSE + MAE) + 3 * MAE)]
    each = {"a_mse_loss": [close(MSE)], "a_mae_loss": [close(MAE)], "b_loss": [close(MAE)]}
    assert history == each


LOSS_LISTS = {
    "1.10": (None, 1, 1),
    "2.32": ([2.0, 3.0], 2, 3),
    "1.10-by-name": ({"mse": 2.0}, 2, 1),
}


@pytest.mark.parametrize(("weights", "a", "b"), LOSS_LISTS.values(), ids=LOSS_LISTS)
def test_a_list_of_losses_on_one_output_trains_all(weights, a, b):
    model = still(network(), loss=["mse", "mae"], loss_weights=weights)
    history = fit(model)
    assert history.pop("loss") == [close(a * MSE + b * MAE)]
    assert history == {"mse_loss": [close(MSE)], "mae_loss": [close(MAE)]}


WEIGHTS = {"typo": {"typo": 2.0}, "list": [1.0, 2.0]}


@pytest.mark.parametrize("weights", WEIGHTS.values(), ids=WEIGHTS)
def test_1_9_loss_weights_of_nothing_are_refused(weights):
    with pytest.raises(ValueError, match="`loss_weights`"):
        fit(still(hooked(squares), loss_weights=weights))


def test_1_9_a_loss_weight_by_the_name_of_the_only_output_counts():
    model = still(network(name="score"), loss="mse", loss_weights={"score": 2.0})
    assert fit(model)["loss"] == [close(2 * MSE)]


def test_1_11_2_10_regularization_is_added_and_logged():
    model = still(hooked(squares, kernel_regularizer=keras.regularizers.L2(1.0)))
    history = fit(model, validation_data=(X, Y))
    for prefix in ("", "val_"):
        assert history[f"{prefix}regularization"] == [close(L2)]
        assert history[f"{prefix}loss"] == [close(MSE + L2)]


@pytest.mark.parametrize("options", [{}, {"loss": "mse"}], ids=["hook", "compiled"])
def test_2_11_compute_loss_has_the_added_losses(options):
    regularizer = keras.regularizers.L2(1.0)
    model = network if options else lambda **layer: hooked(squares, **layer)
    model = still(model(kernel_regularizer=regularizer), **options)
    assert float(model.compute_loss(X, Y, model(X))) == close(MSE + L2)


def test_2_12_metrics_start_anew_in_every_epoch():
    stock, model = network(keras.Model), hooked(squares)
    stock.compile(keras.optimizers.SGD(0.5), loss="mse", metrics=["mae"])
    model.compile(keras.optimizers.SGD(0.5), metrics=["mae"])
    assert fit(model, epochs=4)["mae"] == fit(stock, epochs=4)["mae"]


def test_2_9_train_and_test_may_have_terms_of_their_own():
    class Monitored(LossAwareModel):
        def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
            extra = {} if training else {"absolute": ops.abs(y_pred - y)}
            return {"squares": ops.square(y_pred - y), **extra}

    history = fit(still(network(Monitored)), validation_data=(X, Y), epochs=2)
    assert history["loss"] == [close(MSE)] * 2
    assert history["val_loss"] == [close(MSE + MAE)] * 2
    assert "absolute" not in history


def test_1_43_train_on_batch_returns_the_loss_of_its_batch():
    model = still(hooked(squares))
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
def test_2_39_evaluate_within_a_callback_leaves_the_logs_of_training(hook, batch):
    callback = Evaluate(hook, batch)
    model = still(hooked(squares), metrics=["mae"])
    history = fit(model, callbacks=[callback], epochs=2)
    mse, mae = [close(MSE)] * 2, [close(MAE)] * 2
    assert history == {"loss": mse, "squares": mse, "mae": mae}
    errors = 3 * X.astype("float64").sum(1) - Y[:, 0]
    assert callback.result == close(np.mean(errors**2))
