"""Epochs, names and checks of what is logged."""

import warnings

import keras
import numpy as np
import pytest
from keras import ops

from keras_trainsteps import LossAwareModel, LossTerm, losses
from tests.toy import MAE, MSE, ROWS, X, Y, close, dense, evaluate, fit, hooked, network, still

WHOLE = {"features": X, "query_id": np.array([0, 0, 0, 0, 1, 1, 1, 1, 2, 2])}
LONE = {"features": X, "query_id": np.arange(ROWS)}
LABELS = np.arange(ROWS)[:, None] % 3.0
NOTHING = "'ranking' had nothing to count in the whole epoch"


def ranking():
    """A model with one term that compares the rows of queries."""

    def hook(x, y, y_pred):
        return {"ranking": losses.list_mle(y, y_pred, query_ids=x["query_id"])}

    return still(network(hooked(hook, side_inputs=["query_id"])))


# Queries of one row


def test_the_sizes_of_queries_start_anew_in_each_epoch():
    model = ranking()
    fit(model, WHOLE, LABELS)
    with pytest.raises(ValueError, match=r"'ranking' compares .*every query had one row"):
        fit(model, LONE, LABELS)


def test_validation_data_of_one_row_a_query_are_evaluated():
    with pytest.warns(UserWarning, match=NOTHING):
        history = fit(ranking(), WHOLE, LABELS, validation_data=(LONE, LABELS))
    assert history["val_ranking"] == [0.0]


def test_a_batch_of_one_row_a_query_is_taken_outside_of_fit():
    model = ranking()
    model.train_on_batch(LONE, LABELS)
    with pytest.warns(UserWarning, match=NOTHING):
        assert model.get_metrics_result()["ranking"] == 0.0
    assert int(model.optimizer.iterations) == 1


# Names


def test_a_term_of_the_hook_may_not_look_like_one_of_validation():
    model = still(network(hooked(lambda x, y, y_pred: {"val_error": ops.square(y_pred)})))
    with pytest.raises(ValueError, match=r"does not start with 'val_' .*Received: 'val_error'"):
        fit(model)


@pytest.mark.parametrize("method", ["add_loss", "add_metric"])
def test_the_name_of_an_added_term_holds_no_slash(method):
    model = network()
    with pytest.raises(ValueError, match=r"`name` must be a string without '/'.*'kernel/norm'"):
        getattr(model, method)(lambda: ops.sum(model.weights[0]), name="kernel/norm")


@pytest.mark.parametrize("name", ["loss", "regularization"])
@pytest.mark.parametrize("kind", ["function", "metric"])
@pytest.mark.parametrize("weighted", [False, True], ids=["metrics", "weighted_metrics"])
def test_a_metric_with_the_name_of_what_the_model_logs_is_refused(name, kind, weighted):
    def metric(y_true, y_pred):
        return ops.mean(ops.abs(y_true - y_pred))

    metric.__name__ = name
    given = metric if kind == "function" else keras.metrics.MeanAbsoluteError(name=name)
    options = {"weighted_metrics" if weighted else "metrics": [given]}
    with pytest.raises(ValueError, match=f"A metric must not have the name .* '{name}'"):
        still(network(), loss="mse", **options)


class Longer(LossAwareModel):
    """A step that goes on after that of the library, and looks at the metrics."""

    def train_step(self, data):
        super().train_step(data)
        return self.get_metrics_result()


@pytest.mark.parametrize("base", [LossAwareModel, Longer], ids=["own step", "step around it"])
def test_an_eager_batch_with_nothing_to_count_is_no_empty_epoch(base):
    def hook(x, y, y_pred):
        counts = ops.cast(x["counts"], "float32")
        return {"counted": LossTerm(ops.sum(counts * y_pred[:, 0]), ops.sum(counts))}

    counts = np.array([0] * 4 + [1] * 6, "float32")
    model = still(network(hooked(hook, base=base, side_inputs=["counts"])), run_eagerly=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        history = fit(model, {"features": X, "counts": counts})
    assert history["counted"] == [close(X[4:].astype("float64").sum() / 6)]


def two_outputs(cls):
    inputs = keras.Input((3,))
    return cls(inputs, {"a": dense()(inputs), "b": dense()(inputs)})


def test_a_term_named_as_the_metric_of_an_output_is_refused():
    cls = hooked(lambda x, y, y_pred: {"b_mae": ops.square(y["b"] - y_pred["b"])})
    model = still(two_outputs(cls), metrics={"b": ["mae"]})
    with pytest.raises(ValueError, match=r"needs a name of its own.*Received: 'b_mae'"):
        fit(model, y={"a": Y, "b": Y})


def test_metrics_of_an_output_are_logged_together_with_terms():
    cls = hooked(lambda x, y, y_pred: {"part": ops.square(y["b"] - y_pred["b"])})
    logs = evaluate(still(two_outputs(cls), metrics={"b": ["mae"]}), y={"a": Y, "b": Y})
    assert logs == {"loss": close(MSE), "part": close(MSE), "b_mae": close(MAE)}


def test_the_logged_part_of_a_term_needs_a_name_of_its_own():
    cls = hooked(
        lambda x, y, y_pred: {"a": ops.square(y - y_pred), "a_weighted": ops.abs(y - y_pred)}
    )
    model = still(network(cls), loss_weights={"a": keras.Variable(2.0, trainable=False)})
    with pytest.raises(ValueError, match=r"Received: \['a_weighted'\]"):
        fit(model)


def test_the_part_of_a_term_whose_weight_varies_is_logged():
    cls = hooked(lambda x, y, y_pred: {"a": ops.square(y - y_pred), "b": ops.abs(y - y_pred)})
    weight = keras.Variable(2.0, trainable=False)
    model = still(network(cls), loss_weights={"a": weight, "b": 3.0})
    history = fit(model, validation_data=(X, Y))
    assert history["a_weighted"] == history["val_a_weighted"] == [close(2 * MSE)]
    assert history["loss"] == [close(2 * MSE + 3 * MAE)]
    assert "b_weighted" not in history


def test_a_mean_of_the_model_is_saved_as_what_it_is():
    model = network()
    model.largest = keras.metrics.Mean(name="largest")
    fit(still(model, loss="mse"))
    config = keras.saving.serialize_keras_object(model.largest)
    stock = keras.saving.serialize_keras_object(keras.metrics.Mean(name="largest"))
    assert (config["module"], config["class_name"]) == (stock["module"], stock["class_name"])
    assert type(keras.saving.deserialize_keras_object(config)) is keras.metrics.Mean


# Metrics of the model that a kind of step leaves alone


class Own(LossAwareModel):
    """Metrics that are updated in the hook, in a layer and after the metrics of `compile`."""

    def __init__(self):
        super().__init__()
        self.scores = Watching()
        self.left = keras.metrics.Mean(name="left")
        self.of_validation = keras.metrics.Mean(name="of_validation")
        self.last = keras.metrics.Mean(name="last")

    def call(self, x, training=False):
        return self.scores(x, training=training)

    def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
        if not training:
            self.of_validation.update_state(y_pred)
        return {"squares": ops.square(y_pred - y)}

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        results = super().compute_metrics(x, y, y_pred, sample_weight)
        self.last.update_state(y)
        return {**results, "last": self.last.result()}


class Watching(keras.layers.Layer):
    def __init__(self):
        super().__init__()
        self.scores = dense()
        self.of_training = keras.metrics.Mean(name="of_training")

    def call(self, x, training=False):
        scores = self.scores(x)
        if training:
            self.of_training.update_state(ops.abs(scores))
        return scores


@pytest.mark.parametrize("run_eagerly", [False, True])
def test_a_metric_is_logged_where_it_is_updated(run_eagerly):
    model = still(Own(), metrics=["mae"], run_eagerly=run_eagerly)
    history = fit(model, validation_data=(X, Y), epochs=2)
    sums, mean = X.astype("float64").sum(axis=1), close(Y.astype("float64").mean())
    everywhere = {"loss": close(MSE), "squares": close(MSE), "mae": close(MAE), "last": mean}
    of_training = {**everywhere, "of_training": close(np.abs(sums).mean())}
    of_validation = {**everywhere, "of_validation": close(sums.mean())}
    of_both = {**of_training, **{f"val_{name}": value for name, value in of_validation.items()}}
    assert history == {name: [value] * 2 for name, value in of_both.items()}
    assert evaluate(model) == of_validation
    assert len(model.evaluate(X, Y, verbose=0)) == len(of_validation)
    assert set(model.train_on_batch(X, Y, return_dict=True)) == set(of_training)
