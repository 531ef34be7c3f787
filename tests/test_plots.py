"""`plot_history` draws the numbers that were logged, and shares that are those of the loss."""

import csv
import re
import subprocess
import sys

import keras
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.patches import StepPatch

from keras_trainsteps import LossAwareModel
from keras_trainsteps.losses import PairwiseLogistic
from keras_trainsteps.plots.history import plot_history
from tests.models import Ranker, linear, ranking_batch


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def panels(figure):
    return {axes.get_label(): axes for axes in figure.axes}


def titles(figure):
    return [axes.get_title() for axes in figure.axes]


def line(axes, label):
    found = [line for line in axes.lines if line.get_label() == label]
    assert len(found) == 1
    return found[0].get_xydata().T


def drawn_shares(axes):
    """The heights of each term's steps, with their sign."""
    steps = [patch for patch in axes.patches if isinstance(patch, StepPatch)]
    data = {patch.get_label(): patch.get_data() for patch in steps}
    return {name: values - baseline for name, (values, _, baseline) in data.items()}


def fitted(loss_weights=None, *, epochs=3, callbacks=(), cls=Ranker, **compiled):
    x, y = ranking_batch()
    model = linear(cls, kernel_regularizer=keras.regularizers.L2(0.1))
    model.compile("adam", loss_weights=loss_weights, **compiled)
    options = {"validation_data": (x, y), "epochs": epochs, "verbose": 0}
    return model.fit(x, y, callbacks=list(callbacks), **options)


WEIGHTS = {"pairwise": 2.0, "squared": 0.5}


def test_each_term_its_share_and_validation_in_one_call():
    history = fitted(WEIGHTS, metrics=["mae"])
    figure = plot_history(history)
    assert titles(figure) == [
        "loss",
        "pairwise (weight 2)",
        "squared (weight 0.5)",
        "regularization",
        "share of loss",
        "mae",
    ]
    for name, axes in panels(figure).items():
        if name != "share of loss":
            assert line(axes, "training").tolist() == [[1, 2, 3], history.history[name]]
            assert line(axes, "validation").tolist() == [
                [1, 2, 3],
                history.history[f"val_{name}"],
            ]
    logs = {name: np.array(values) for name, values in history.history.items()}
    shares = drawn_shares(panels(figure)["share of loss"])
    for name, weight in {**WEIGHTS, "regularization": 1.0}.items():
        np.testing.assert_allclose(shares[name], weight * logs[name] / logs["loss"], rtol=1e-5)
    np.testing.assert_allclose(sum(shares.values()), 1, rtol=1e-6)


def test_a_dict_and_a_csv_file_draw_what_the_history_draws(tmp_path):
    path = tmp_path / "log.csv"
    log = keras.callbacks.CSVLogger(path)
    history = fitted(WEIGHTS, callbacks=[log])
    with path.open() as file:
        rows = list(csv.DictReader(file))
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    expected = panels(plot_history(history))
    for logs in (history.history, columns):
        figure = panels(plot_history(logs, loss_weights=WEIGHTS))
        assert set(figure) == set(expected)
        for name, axes in expected.items():
            for old, new in zip(axes.lines, figure[name].lines, strict=True):
                np.testing.assert_allclose(new.get_xydata(), old.get_xydata(), rtol=1e-6)
        before = drawn_shares(expected["share of loss"])
        after = drawn_shares(figure["share of loss"])
        for name, values in after.items():
            np.testing.assert_allclose(values, before[name], rtol=1e-5)


def test_without_known_terms_there_are_no_shares():
    logs = {"loss": [2.0, 1.0], "mse": [2.0, 1.0], "val_loss": [3.0, 2.0]}
    assert titles(plot_history(logs)) == ["loss", "mse"]


def test_names_of_outputs_name_their_terms_as_in_compile():
    logs = {"loss": [4.0], "a_loss": [1.0], "b_loss": [1.5]}
    figure = plot_history(logs, loss_weights={"a": 1.0, "b": 2.0})
    assert titles(figure) == ["loss", "a_loss", "b_loss (weight 2)", "share of loss"]
    shares = drawn_shares(panels(figure)["share of loss"])
    assert {name: values.tolist() for name, values in shares.items()} == {
        "a_loss": [0.25],
        "b_loss": [0.75],
    }


def test_an_annealed_weight_is_what_the_others_leave():
    weight = keras.Variable(1.0)
    anneal = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: weight.assign(1.0 / (1 + epoch))
    )
    history = fitted({"pairwise": 2.0, "squared": weight}, callbacks=[anneal])
    figure = plot_history(history)
    assert "squared (weight varies)" in titles(figure)
    logs = {name: np.array(values) for name, values in history.history.items()}
    expected = logs["squared"] / np.array([1, 2, 3]) / logs["loss"]
    shares = drawn_shares(panels(figure)["share of loss"])
    np.testing.assert_allclose(shares["squared"], expected, rtol=1e-4)
    given = plot_history(history, loss_weights={"squared": [1, 1 / 2, 1 / 3]})
    shares = drawn_shares(panels(given)["share of loss"])
    np.testing.assert_allclose(shares["squared"], expected, rtol=1e-4)


def test_two_annealed_weights_must_be_given():
    both = {"pairwise": keras.Variable(1.0), "squared": keras.Variable(1.0)}
    anneal = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: [w.assign(1.0 / (1 + epoch)) for w in both.values()]
    )
    history = fitted(both, callbacks=[anneal])
    with pytest.warns(
        UserWarning, match=r"shares of the loss are not drawn.*one weight an epoch"
    ):
        assert "share of loss" not in titles(plot_history(history))
    given = {name: [1, 1 / 2, 1 / 3] for name in both}
    assert "share of loss" in titles(plot_history(history, loss_weights=given))


def test_trained_weights_are_taken_from_their_logs():
    logs = {
        "loss": [4.0, 3.0],  # the weights of the logs are those at the end of the epoch
        "a_loss": [2.0, 1.0],
        "b_loss": [1.0, 1.0],
        "a_loss_weight": [1.0, 1.5],
        "b_loss_weight": [2.0, 1.0],
    }
    figure = plot_history(logs, loss_weights={"a": 2.0, "b": 1.0})
    assert titles(figure)[1:4] == [
        "a_loss (weight varies)",
        "b_loss (weight varies)",
        "share of loss",
    ]
    shares = drawn_shares(panels(figure)["share of loss"])
    np.testing.assert_allclose(shares["a_loss"], [4 / 6, 3 / 4])
    np.testing.assert_allclose(shares["b_loss"], [2 / 6, 1 / 4])


def test_negative_parts_are_drawn_below_zero():
    logs = {"loss": [1.0, -1.0], "norm": [-1.0, -3.0], "fit": [1.0, 1.0]}
    figure = plot_history(logs, loss_weights={"norm": 1.0, "fit": 2.0})
    shares = drawn_shares(panels(figure)["share of loss"])
    np.testing.assert_allclose(shares["norm"], [-1 / 3, -3 / 5])
    np.testing.assert_allclose(shares["fit"], [2 / 3, 2 / 5])
    bases = [patch.get_data().baseline for patch in panels(figure)["share of loss"].patches]
    assert [base.tolist() for base in bases] == [[0, 0], [0, 0]]


def test_a_single_term_is_the_loss_and_drawn_once():
    class Squared(LossAwareModel):
        def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
            return {"squared": keras.ops.square(y - y_pred)}

    model = linear(Squared)
    model.compile("sgd")
    history = model.fit(np.ones((4, 3)), np.zeros((4, 1)), epochs=2, verbose=0)
    figure = plot_history(history)
    assert titles(figure) == ["loss = squared"]
    assert line(figure.axes[0], "training").tolist() == [[1, 2], history.history["loss"]]


def test_a_single_compiled_loss_is_what_regularization_leaves():
    history = fitted(cls=LossAwareModel, loss=PairwiseLogistic(query_ids="query_id"))
    figure = plot_history(history)
    assert titles(figure) == ["loss", "regularization", "share of loss"]
    logs = {name: np.array(values) for name, values in history.history.items()}
    shares = drawn_shares(panels(figure)["share of loss"])
    expected = logs["regularization"] / logs["loss"]
    np.testing.assert_allclose(shares["regularization"], expected, rtol=1e-5)
    np.testing.assert_allclose(shares["compiled loss"], 1 - expected, rtol=1e-5)


def test_a_stock_model_has_curves_and_no_shares():
    model = linear(keras.Model)
    model.compile("sgd", loss="mse", metrics=["mae"])
    x, y = np.ones((4, 3)), np.zeros((4, 1))
    history = model.fit(x, y, epochs=2, initial_epoch=1, validation_split=0.5, verbose=0)
    figure = plot_history(history)
    assert titles(figure) == ["loss", "mae"]
    assert line(figure.axes[0], "validation")[0].tolist() == [2]


@pytest.mark.parametrize("freq", [2, [2, 4]])
def test_validation_of_some_epochs_stands_where_it_was_made(freq):
    logs = {"loss": [5.0, 4.0, 3.0, 2.0, 1.0], "val_loss": [4.5, 2.5]}
    axes = plot_history(logs, validation_freq=freq).axes[0]
    assert line(axes, "validation").tolist() == [[2, 4], [4.5, 2.5]]
    with pytest.raises(ValueError, match=r"`validation_freq` must.*5 of 5.*2 values"):
        plot_history(logs)


def test_what_a_csv_file_lacks_is_left_out():
    logs = {"epoch": ["3", "4"], "loss": ["2", "1"], "val_loss": ["NA", "1.5"]}
    axes = plot_history(logs).axes[0]
    assert line(axes, "training").tolist() == [[4, 5], [2, 1]]
    assert line(axes, "validation").tolist() == [[5], [1.5]]


def test_what_is_not_finite_is_said():
    logs = {"loss": [3.0, np.nan, np.inf], "a": [1.0, np.nan, np.inf], "b": [2.0, 2.0, 2.0]}
    figure = plot_history(logs, loss_weights={"a": 1.0, "b": 1.0})
    figure.canvas.draw()
    for name, axes in panels(figure).items():
        texts = [text.get_text() for text in axes.texts]
        expected = ["not finite in 2 epochs, first in epoch 2"] if name in ("loss", "a") else []
        assert texts == expected
    shares = drawn_shares(panels(figure)["share of loss"])
    np.testing.assert_allclose(shares["b"], [2 / 3, np.nan, np.nan])


@pytest.mark.parametrize(
    ("history", "options", "error", "message"),
    [
        ([1.0], {}, TypeError, "`history` must be what `fit` returned.*Received: list"),
        ({}, {}, ValueError, "`history` must have the `loss` of at least one epoch"),
        ({"loss": ["x"]}, {}, ValueError, "one number an epoch.*'loss'"),
        ({"loss": [1, 2], "a": [1]}, {}, ValueError, "one value an epoch.*1 of 'a' for 2"),
        (
            {"loss": [1.0], "a": [1.0]},
            {"loss_weights": {"b": 1}},
            ValueError,
            r"`loss_weights` must name terms.*'b', where it has \['a', 'loss'\]",
        ),
        (
            {"loss": [1.0, 3.0], "a": [1.0, 1.0]},
            {"loss_weights": {"a": 1}},
            ValueError,
            r"must name every term.*\['a'\], which make 1 of a loss of 3 in epoch 2",
        ),
        (
            {"loss": [1.0, 3.0], "a": [1.0, 1.0]},
            {"loss_weights": {"a": [1, 2, 3]}},
            ValueError,
            r"one number an epoch. Received: shape \(3,\) for 'a' and 2 epochs",
        ),
    ],
)
def test_bad_input(history, options, error, message):
    with pytest.raises(error, match=message):
        plot_history(history, **options)
    assert not plt.get_fignums()


def test_matplotlib_is_imported_only_to_draw_and_its_extra_is_named():
    code = """
import sys
sys.modules["matplotlib"] = None
import keras_trainsteps
from keras_trainsteps.plots import plot_history
plot_history({"loss": [1.0]})
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert re.search(r"ImportError.*`pip install 'keras-trainsteps\[plot\]'`", run.stderr)
