"""`LossAwareModel`: kinds of model, logs, weights, Keras's own hooks."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_trainsteps import (
    LossAwareModel,
    LossAwareSequential,
    LossTerm,
    compat,
    losses,
)
from tests.models import Ranker, SquaredError, linear, ranking_batch
from tests.reference.listwise import list_mle, over_queries
from tests.toy import CUT_QUERIES, SUMS, X, Y, close, fit, network, still


def numpy_prediction(model, x):
    kernel, bias = (weight.numpy().astype("float64") for weight in model.weights)
    return x["features"].astype("float64") @ kernel + bias


def expected_terms(model, x, y):
    scores = numpy_prediction(model, x)
    ones = np.ones(len(y))
    batch = y[:, 0], scores[:, 0], x["query_id"], ones, ones, ones
    total, count = over_queries(list_mle, *batch, "queries")
    return total / count, np.mean((y - scores) ** 2)


# Kinds of model


@CUT_QUERIES
def test_functional_subclass_and_sequential_log_the_same_numbers():
    x, y = ranking_batch()

    class Called(Ranker):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(1, kernel_initializer="ones")

        def call(self, inputs):
            return self.dense(inputs["features"])

    class Stacked(LossAwareSequential):
        side_inputs = ("query_id",)
        compute_losses = Ranker.compute_losses

    built = [
        linear(Ranker),
        Called(),
        Stacked([keras.layers.Dense(1, kernel_initializer="ones")]),
    ]
    logs = []
    for model in built:
        model.compile("sgd")
        logs.append(model.fit(x, y, batch_size=10, shuffle=False, epochs=2, verbose=0).history)
    assert logs[0] == logs[1] == logs[2]
    assert sorted(logs[0]) == ["loss", "ranking", "squared"]


def test_values_equal_the_reference():
    x, y = ranking_batch()
    model = linear(Ranker)
    model.compile("sgd")
    logs = model.evaluate(x, y, batch_size=24, return_dict=True, verbose=0)
    ranking, squared = expected_terms(model, x, y)
    np.testing.assert_allclose(logs["ranking"], ranking, rtol=1e-6)
    np.testing.assert_allclose(logs["squared"], squared, rtol=1e-6)
    np.testing.assert_allclose(logs["loss"], ranking + squared, rtol=1e-6)


def test_building_a_functional_model_changes_no_class():
    class Base(LossAwareModel):
        pass

    class Called(Base):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(1)

        def call(self, inputs):
            return self.dense(inputs)

    before = {cls: cls.__bases__ for cls in (LossAwareModel, Base, Called)}
    model = linear(Base)
    assert isinstance(model, Base)
    assert type(model).__name__ == "Base"
    assert {cls: cls.__bases__ for cls in before} == before
    called = Called()
    called.compile("sgd", loss="mse")
    assert called.fit(np.ones((4, 3)), np.ones((4, 1)), verbose=0).history["loss"][0] >= 0


def test_a_functional_subclass_with_a_constructor_of_its_own():
    class Scorer(LossAwareModel):
        def __init__(self, width):
            inputs = keras.Input((width,))
            super().__init__(inputs=inputs, outputs=keras.layers.Dense(1)(inputs))

    model = Scorer(3)
    model.compile("sgd", loss="mse")
    model.fit(np.ones((4, 3)), np.ones((4, 1)), verbose=0)
    assert model.count_params() == 4
    assert compat.functional_class() not in LossAwareModel.__mro__


# The network sees no side input


def test_side_inputs_never_reach_call_predict_or_the_signature(tmp_path):
    seen = []

    class Called(LossAwareModel):
        side_inputs = ("query_id",)

        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(1)

        def call(self, inputs):
            seen.append(sorted(inputs))
            return self.dense(inputs["features"])

        def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
            return {"t": losses.pairwise_logistic(y, y_pred, query_ids=x["query_id"])}

    x, y = ranking_batch()
    model = Called()
    model.compile("sgd")
    model.fit(x, y, verbose=0)
    model.predict(x, verbose=0)
    model.predict({"features": x["features"]}, verbose=0)
    assert all(keys == ["features"] for keys in seen)
    model.export(tmp_path / "export", verbose=False)
    signature = tf.saved_model.load(tmp_path / "export").signatures["serving_default"]
    inputs = signature.structured_input_signature[1]
    assert [spec.dtype for spec in inputs.values()] == [tf.float32]


def test_a_functional_model_gets_its_inputs_by_name():
    a, b = keras.Input((1,), name="b"), keras.Input((1,), name="c")
    output = keras.layers.Lambda(lambda pair: 10 * pair[0] + pair[1])([a, b])
    for inputs in ([a, b], {"b": a, "c": b}):
        model = LossAwareModel(inputs, output)
        x = {"a": np.zeros((2, 1)), "b": np.ones((2, 1)), "c": 2 * np.ones((2, 1))}
        np.testing.assert_array_equal(model.predict(x, verbose=0), [[12.0], [12.0]])


def test_a_single_input_takes_the_only_entry_left():
    inputs = keras.Input((3,))
    model = Ranker(inputs, keras.layers.Dense(1)(inputs))
    x, y = ranking_batch()
    model.compile("sgd")
    model.fit({"any_name": x["features"], "query_id": x["query_id"]}, y, verbose=0)
    named = {"any_name": x["features"], "query_id": x["query_id"]}
    np.testing.assert_allclose(
        model.predict(named, verbose=0), numpy_prediction(model, x), rtol=1e-5, atol=1e-6
    )


def test_a_sequential_model_may_begin_with_a_layer_that_takes_a_dict():
    class Join(keras.layers.Layer):
        def call(self, inputs):
            return keras.ops.concatenate([inputs["a"], inputs["b"]], axis=-1)

    class Stacked(LossAwareSequential):
        side_inputs = ("query_id",)

    model = Stacked([Join(), keras.layers.Dense(1)])
    model.compile("sgd", loss="mse")
    x = {"a": np.ones((4, 2)), "b": np.ones((4, 1)), "query_id": np.arange(4)}
    model.fit(x, np.ones((4, 1)), verbose=0)
    assert model.count_params() == 4


def test_an_entry_can_be_an_input_and_a_side_input():
    inputs = {name: keras.Input((1,), name=name) for name in ("features", "mask")}
    output = keras.layers.Multiply()(list(inputs.values()))
    output = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")(output)

    class Masked(LossAwareModel):
        side_inputs = ("mask",)

        def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
            return {"t": LossTerm(tf.reduce_sum(x["mask"] * y_pred), tf.reduce_sum(x["mask"]))}

    model = Masked(inputs, output)
    model.compile(keras.optimizers.SGD(0.0))
    features, mask = np.arange(1.0, 5.0)[:, None], np.array([[1.0], [0.0], [1.0], [2.0]])
    x = {"features": features, "mask": mask}
    history = model.fit(x, np.ones((4, 1)), verbose=0).history
    assert history["t"] == [np.sum(mask * (features * mask)) / np.sum(mask)]
    np.testing.assert_array_equal(model.predict(x, verbose=0), features * mask)


# Logs


class Counted(LossAwareModel):
    """Two terms with denominators that differ from batch to batch, and a scalar."""

    side_inputs = ("count",)

    def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
        count = tf.reduce_sum(x["count"])
        return {
            "own": LossTerm(tf.reduce_sum(x["count"] * y_pred[:, 0]), count),
            "rowwise": keras.ops.square(y_pred),
            "scalar": tf.reduce_max(y_pred),
        }


def test_epoch_logs_are_ratios_of_two_sums_and_additive():
    x = {"features": np.arange(30, dtype="float32").reshape(10, 3) / 7}
    x["count"] = np.array([1, 5, 0, 2, 0, 0, 0, 0, 9, 4], "float32")
    model = linear(Counted, kernel_regularizer=keras.regularizers.L2(0.5))
    model.compile(keras.optimizers.SGD(0.0), loss_weights={"own": 3.0, "scalar": 0.25})
    logs = model.fit(x, np.zeros((10, 1)), batch_size=4, shuffle=False, verbose=0).history
    score = x["features"].astype("float64").sum(axis=1)
    batches = [slice(0, 4), slice(4, 8), slice(8, 10)]
    expected = {
        "own": np.sum(x["count"] * score) / np.sum(x["count"]),
        "rowwise": np.mean(score**2),
        "scalar": sum(len(score[b]) * score[b].max() for b in batches) / 10,
        "regularization": 0.5 * 3,
    }
    for name, value in expected.items():
        assert logs[name][0] == pytest.approx(value, rel=1e-6), name
    total = 3 * logs["own"][0] + logs["rowwise"][0] + 0.25 * logs["scalar"][0] + 1.5
    assert logs["loss"][0] == pytest.approx(total, rel=1e-6)


def test_each_term_has_one_mean_tracker_in_metrics():
    model = linear(Ranker)
    model.compile("sgd", metrics=["mae"])
    x, y = ranking_batch()
    model.fit(x, y, verbose=0)
    names = [metric.name for metric in model.metrics]
    assert names == ["loss", "ranking", "squared", "compile_metrics"]
    assert all(isinstance(metric, keras.metrics.Mean) for metric in model.metrics[:3])
    assert len({id(metric) for metric in model.metrics}) == 4


@CUT_QUERIES
def test_trackers_are_reset_every_epoch():
    x, y = ranking_batch()
    model = linear(Ranker)
    model.compile(keras.optimizers.SGD(0.0))
    logs = model.fit(x, y, epochs=3, batch_size=7, shuffle=False, verbose=0).history
    assert all(values[0] == values[1] == values[2] for values in logs.values())


def test_names_of_the_test_step_only_are_not_logged_by_training():
    class Phased(LossAwareModel):
        def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
            name = "train_only" if training else "test_only"
            return {"both": keras.ops.square(y_pred), name: keras.ops.abs(y_pred)}

    model = linear(Phased)
    model.compile("sgd")
    x, y = np.ones((4, 3)), np.ones((4, 1))
    history = model.fit(x, y, epochs=2, validation_data=(x, y), verbose=0).history
    assert sorted(history) == [
        "both", "loss", "train_only", "val_both", "val_loss", "val_test_only"
    ]  # fmt: skip
    assert all(value > 0 for values in history.values() for value in values)
    assert sorted(model.evaluate(x, y, return_dict=True, verbose=0)) == [
        "both", "loss", "test_only"
    ]  # fmt: skip


def test_names_of_an_earlier_compile_are_gone():
    class Switched(LossAwareModel):
        term = "first"

        def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
            return {self.term: keras.ops.square(y_pred)}

    model = linear(Switched)
    for model.term in ("first", "second"):
        model.compile("sgd")
        history = model.fit(np.ones((4, 3)), np.ones((4, 1)), verbose=0).history
        assert sorted(history) == sorted(["loss", model.term])
        assert [metric.name for metric in model.metrics] == ["loss", model.term]


# Loss weights


def test_weights_that_are_variables_are_known_by_name():
    weight = keras.Variable(0.5, trainable=False)
    model = linear(Ranker)
    assert model.loss_weight_variables == {}
    model.compile("sgd", loss_weights={"ranking": weight, "squared": 2.0})
    assert model.loss_weight_variables == {"ranking": weight}


def test_a_weight_that_changes_within_an_epoch_counts_as_it_was_in_force():
    weight = keras.Variable(0.0, trainable=False)

    class Anneal(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            weight.assign(float(batch))

    class Own(LossAwareModel):
        def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
            return {"own": LossTerm(tf.reduce_sum(y_pred), tf.constant(4.0))}

    model = linear(Own)
    model.compile(keras.optimizers.SGD(0.0), loss_weights={"own": weight})
    x = np.ones((12, 3), "float32")
    logs = model.fit(x, x[:, :1], batch_size=4, callbacks=[Anneal()], verbose=0).history
    assert logs["own"][0] == pytest.approx(3.0)  # each batch: four scores of 3 over 4
    assert logs["loss"][0] == pytest.approx((0 + 1 + 2) * 3.0 / 3)


# Keras's own hooks


def test_compute_loss_is_the_same_total():
    x, y = ranking_batch()
    model = linear(Ranker, kernel_regularizer=keras.regularizers.L2(0.5))
    model.compile("sgd", loss="mae", loss_weights={"ranking": 2.0})
    logs = model.evaluate(x, y, return_dict=True, verbose=0)
    total = model.compute_loss(x, y, model(x), None, training=False)
    assert float(total) == pytest.approx(logs["loss"], rel=1e-6)


@pytest.mark.parametrize("with_training", [True, False])
def test_an_overridden_compute_loss_is_trained_on_as_in_stock_keras(with_training):
    def override(base):
        if with_training:

            class Overridden(base):
                def compute_loss(
                    self, x=None, y=None, y_pred=None, sample_weight=None, training=True
                ):
                    return 3.0 * super().compute_loss(x, y, y_pred, sample_weight, training)

        else:

            class Overridden(base):
                def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
                    return 3.0 * super().compute_loss(x, y, y_pred, sample_weight)

        return Overridden

    x, y = ranking_batch()
    found = []
    for base in (keras.Model, LossAwareModel):
        model = linear(override(base))
        model.compile("sgd", loss="mse")
        logs = model.fit(x["features"], y, batch_size=10, shuffle=False, verbose=0)
        found.append((logs.history, [weight.numpy().tolist() for weight in model.weights]))
    assert found[0] == found[1]


def test_an_overridden_compute_metrics_is_honoured():
    class Overridden(SquaredError):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.largest = keras.metrics.Mean(name="largest")

        def compute_metrics(self, x, y, y_pred, sample_weight=None):
            self.largest.update_state(tf.reduce_max(y_pred))
            return super().compute_metrics(x, y, y_pred, sample_weight)

    model = linear(Overridden)
    model.compile("sgd")
    history = model.fit(np.ones((4, 3)), np.ones((4, 1)), verbose=0).history
    assert history["largest"] == [3.0]


def test_a_model_without_trainable_weights_only_warns():
    model = linear(SquaredError)
    model.trainable = False
    model.compile("sgd")
    with pytest.warns(UserWarning, match="does not have any trainable weights"):
        model.fit(np.ones((4, 3)), np.ones((4, 1)), verbose=0)


def test_no_optimizer_evaluates():
    model = linear(SquaredError)
    model.compile(optimizer=None)
    assert model.evaluate(np.ones((4, 3)), np.ones((4, 1)), verbose=0)[0] == 4.0


# The rest of Keras


def test_class_weight_and_validation_split():
    x = np.arange(30, dtype="float32").reshape(10, 3)
    y = np.array([[0.0], [1.0]] * 5, "float32")
    model = linear(SquaredError)
    model.compile(keras.optimizers.SGD(0.0))
    history = model.fit(
        x, y, validation_split=0.2, class_weight={0: 1.0, 1: 3.0}, shuffle=False, verbose=0
    ).history
    error = (y[:, 0].astype("float64") - x.sum(axis=1)) ** 2
    assert history["loss"][0] == pytest.approx(np.mean(error[:8] * (1 + 2 * y[:8, 0])), rel=1e-6)
    assert history["val_loss"][0] == pytest.approx(np.mean(error[8:]), rel=1e-6)


def test_stock_callbacks_see_every_term(tmp_path):
    x, y = ranking_batch()
    model = linear(Ranker)
    model.compile("sgd")
    callbacks = [
        keras.callbacks.EarlyStopping("val_ranking", patience=1, mode="min"),
        keras.callbacks.ReduceLROnPlateau("ranking", patience=1, mode="min"),
        keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", "val_ranking", mode="min"),
        keras.callbacks.CSVLogger(tmp_path / "log.csv"),
        keras.callbacks.TerminateOnNaN(),
        keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate),
    ]
    model.fit(x, y, epochs=2, validation_data=(x, y), callbacks=callbacks, verbose=0)
    header = (tmp_path / "log.csv").read_text().splitlines()[0]
    assert {"ranking", "squared", "val_ranking", "val_squared"} <= set(header.split(","))
    assert (tmp_path / "best.keras").exists()


def test_losses_of_float16_models_are_computed_in_float32():
    seen = []

    class Seen(LossAwareModel):
        def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
            seen.append((y.dtype, y_pred.dtype))
            return {"t": keras.ops.square(y - y_pred)}

    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = linear(Seen)
        model.compile(keras.optimizers.SGD(0.0))
        history = model.fit(np.full((4, 3), 100.0), np.zeros((4, 1)), verbose=0).history
    finally:
        keras.config.set_dtype_policy("float32")
    assert history["loss"] == [300.0**2]
    assert set(seen) == {(tf.float32, tf.float32)}


@pytest.mark.slow
def test_mixed_float16_learns_as_stock():
    keras.config.set_dtype_policy("mixed_float16")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(10, 3)).astype("float32")
    y = x @ np.array([[0.5], [-1.0], [2.0]], "float32")
    try:
        final = []
        for cls, loss in ((keras.Model, "mse"), (SquaredError, None)):
            model = linear(cls)
            model.compile(keras.optimizers.SGD(0.05), loss=loss)
            history = model.fit(x, y, epochs=50, batch_size=10, verbose=0).history["loss"]
            final.append((history[0], history[-1]))
    finally:
        keras.config.set_dtype_policy("float32")
    assert final[0] == final[1]
    assert final[1][1] < final[1][0] / 10


@pytest.mark.slow
def test_nothing_is_warned_of_in_a_normal_run():
    x, y = ranking_batch()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = linear(Ranker)
        model.compile("adam", metrics=["mae"], jit_compile=True)
        model.fit(x, y, epochs=2, validation_data=(x, y), verbose=0)


class Pairs(LossAwareModel):
    """A loss of pairs of rows, of which a batch may have none."""

    side_inputs = ("query_id",)

    def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
        return {"pairwise": losses.pairwise_logistic(y, y_pred, query_ids=x["query_id"])}


def test_an_epoch_without_a_pair_warns_once():
    x, y = ranking_batch()
    y = np.ones_like(y)
    model = linear(Pairs)
    model.compile("sgd")
    with pytest.warns(UserWarning, match="'pairwise' had nothing to count") as caught:
        history = model.fit(x, y, batch_size=24, epochs=3, verbose=0).history
    assert len(caught) == 1
    assert history["pairwise"] == [0.0, 0.0, 0.0]
    assert np.isfinite(history["loss"]).all()


def test_a_batch_without_a_pair_gives_0_and_trains_on():
    x, y = ranking_batch(rows=8, queries=2)
    x["query_id"] = np.array([0, 1, 2, 3, 4, 4, 4, 4])
    y = np.arange(8.0).reshape(8, 1)
    model = linear(Pairs)
    model.compile("sgd")
    history = model.fit(x, y, batch_size=4, shuffle=False, verbose=0).history
    assert history["pairwise"][0] > 0
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


@pytest.mark.parametrize("run_eagerly", [False, True], ids=["graph", "eager"])
def test_a_metric_with_a_vector_for_a_result_is_logged(run_eagerly):
    score = keras.metrics.F1Score(average=None, threshold=0.5)
    model = still(network(), loss="mse", metrics=[score], run_eagerly=run_eagerly)
    targets = (Y > 0).astype("float32")
    history = fit(model, X, targets, validation_data=(X, targets))
    found, wanted = SUMS > 0.5, Y[:, 0] > 0
    expected = 2 * np.sum(found & wanted) / (np.sum(found) + np.sum(wanted))
    for name in ("f1_score", "val_f1_score"):
        (values,) = history[name]
        assert values.shape == (1,)
        assert values[0] == close(expected)
