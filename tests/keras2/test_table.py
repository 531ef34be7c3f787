"""Each row of the table for those who come from Keras 2: both sides give one number."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_trainsteps import LossAwareModel
from keras_trainsteps.losses import PairwiseLogistic
from tests.keras2 import steps
from tests.models import linear, ranking_batch
from tests.parity.closure import pairwise_binary_crossentropy
from tests.toy import X, Y, hooked, network

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "migrating" / "keras_2.md").read_text(encoding="utf-8")


def ids_by_name():
    x, y = ranking_batch()
    model = linear()
    model.compile("sgd", loss=PairwiseLogistic("query_id", pairs="all"))
    found = model.evaluate(x, y, batch_size=len(y), verbose=0)
    query = tf.constant(x["query_id"].reshape(-1, 1))
    closure = pairwise_binary_crossentropy(query)
    assert found == pytest.approx(float(closure(tf.constant(y), model(x))), rel=1e-5)


def keras_2_step():
    stock = steps.fit(keras.Model, rate=0.1, epochs=2)[1]
    assert steps.fit(steps.Keras2, rate=0.1, epochs=2)[1] == stock
    assert steps.fit(LossAwareModel, custom_mse, rate=0.1, epochs=2)[1] == stock


def custom_mse(y_true, y_pred):
    return tf.reduce_mean((y_true - y_pred) ** 2, axis=-1)


def hook():
    class Hook(LossAwareModel):
        def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
            return {"custom_mse": custom_mse(y, y_pred)}

    _, history = steps.fit(Hook, None, validation=True)
    for name in ("loss", "custom_mse", "val_loss", "val_custom_mse"):
        assert history[name] == pytest.approx([steps.MSE], rel=1e-6)


def vector_of_losses():
    """By hand the rate is that of a sum: of ten rows a tenth of it does the same."""
    by_hand = network()
    with tf.GradientTape() as tape:
        losses = custom_mse(tf.constant(Y), by_hand(X))
    gradients = tape.gradient(losses, by_hand.trainable_weights)
    optimizer = keras.optimizers.SGD(0.01 / len(X))
    optimizer.apply_gradients(zip(gradients, by_hand.trainable_weights, strict=True))
    model = network(hooked(lambda x, y, y_pred: {"custom_mse": custom_mse(y, y_pred)}))
    model.compile(keras.optimizers.SGD(0.01))
    model.train_on_batch(X, Y)
    for weight, other in zip(model.get_weights(), by_hand.get_weights(), strict=True):
        np.testing.assert_allclose(weight, other, rtol=1e-6)


def refused(finish, match):
    cls = type("Wrong", (steps.Own,), {"finish": finish})
    with pytest.raises((TypeError, AttributeError), match=match):
        steps.fit(cls)


def metrics_by_compute_metrics():
    refused(steps.loop_over_metrics, r"self.compute_metrics\(x, y, y_pred, sample_weight\)")

    def finish(self, y, y_pred, loss):
        self.metrics[0].update_state(loss)
        return self.compute_metrics(None, y, y_pred)

    _, history = steps.fit(type("Right", (steps.Own,), {"finish": finish}))
    assert history["mae"] == pytest.approx([steps.MAE], rel=1e-6)
    assert history["loss"] == pytest.approx([steps.MAE], rel=1e-6)


class Smallest(keras.metrics.Metric):
    """A metric of Keras 2 that starts from infinity."""

    def __init__(self):
        super().__init__(name="smallest")
        self.value = self.add_weight(shape=(), initializer="zeros", name="value")
        self.reset_states()

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.value.assign(tf.minimum(self.value, tf.reduce_min(tf.abs(y_true))))

    def result(self):
        return self.value + 0.0

    def reset_states(self):
        self.value.assign(np.inf)


def reset_states():
    _, history = steps.fit(LossAwareModel, metrics=[Smallest()], epochs=2)
    assert history["smallest"] == [np.abs(steps.Y).min()] * 2


BODIES = "keras2/test_bodies.py::"
LAYERS = "parity/test_loss_layers.py::"
# What shows each row: a function below, or tests of other files by their names.
ROWS = {
    "`compile(loss=pairwise_binary_crossentropy(query))`": ids_by_name,
    "`self.compiled_loss(y, y_pred, regularization_losses=self.losses)`": keras_2_step,
    "`self.compiled_metrics.update_state(y, y_pred)`": keras_2_step,
    "a `train_step` with its own loss": hook,
    "`tape.gradient` of one loss per row": vector_of_losses,
    "`self.loss_tracker.update_state(loss)`": (
        BODIES + "test_a_mean_of_batches_is_weighed_by_their_rows"
    ),
    '`return {"loss": loss}`': lambda: refused(steps.raw_loss, "def compute_losses"),
    "`for m in self.metrics: m.update_state(y, y_pred)`": metrics_by_compute_metrics,
    "`x, y = data`": BODIES + "test_weights_that_are_not_unpacked",
    "`optimizer.minimize(...)`": lambda: (
        refused(steps.minimize, r"apply_gradients\(zip\(tape.gradient"),
        refused(steps.get_updates, r"apply_gradients\(zip\(tape.gradient"),
    ),
    "`optimizer.get_scaled_loss(loss)`": (
        BODIES + "test_a_loss_that_is_not_scaled_is_refused_and_a_scaled_one_learns"
    ),
    "`Loss(reduction=Reduction.AUTO)`": "parity/test_guide.py::test_custom_losses",
    "`reset_states` of a metric": reset_states,
    '`loss={"class_output": ...}`': (
        "parity/test_guide_outputs.py::"
        "test_an_output_that_only_predicts_may_be_left_out_of_the_dict"
    ),
    "`compile(loss=lambda y_true, y_pred: y_pred)`": (
        LAYERS + "test_a_loss_as_output_needs_no_dummy_targets"
    ),
    "`model.add_loss([loss])`": LAYERS + "test_an_added_tensor_is_the_loss_with_added_metrics",
    '`metrics_names.append("ppl")`': (
        LAYERS + "test_an_added_tensor_is_the_loss_with_added_metrics"
    ),
    "`model.add_loss(custom_loss(weight_a, weight_b, a))`": (
        "parity/test_trained_factor.py::test_a_factor_without_a_bound_falls_for_ever"
    ),
    "a loop with `loss_value += sum(model.losses)`": (
        "parity/test_guide.py::test_losses_and_metrics_within_layers_and_a_loop_that_adds_them"
    ),
}
ELSEWHERE = {row: test for row, test in ROWS.items() if isinstance(test, str)}
HERE = {row: test for row, test in ROWS.items() if row not in ELSEWHERE}


def test_the_rows_of_this_table_are_those_of_the_page():
    table = PAGE.split("# From Keras 2")[1].split("\n##")[0]
    rows = re.findall(r"^\| (?!there|---)(.+?) \| ", table, re.MULTILINE)
    assert len(rows) == len(ROWS), "a row without a test"
    for start in ROWS:
        assert sum(row.startswith(start) for row in rows) == 1, start


@pytest.mark.parametrize("test", sorted(set(ELSEWHERE.values())))
def test_a_row_that_is_shown_elsewhere_has_its_test(test):
    path, name = test.split("::")
    source = (ROOT / "tests" / path).read_text(encoding="utf-8")
    assert re.search(rf"^def {name}\(", source, re.MULTILINE)


@pytest.mark.slow
@pytest.mark.parametrize("row", HERE)
def test_both_sides_of_a_row(row):
    HERE[row]()
