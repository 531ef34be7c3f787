"""`plot_history` draws the numbers that were logged, and shares that are those of the loss."""

import csv
import re
import runpy
import subprocess
import sys

import keras
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.patches import StepPatch

from keras_trainsteps import LossAwareModel
from keras_trainsteps.plots import history as plots_history
from keras_trainsteps.plots import plot_history
from tests.models import linear, ranking_batch


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


class TwoTerms(LossAwareModel):
    """A squared and an absolute error."""

    def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
        return {"squared": keras.ops.square(y - y_pred), "absolute": keras.ops.abs(y - y_pred)}


def fitted(loss_weights=None, *, callbacks=(), cls=TwoTerms, **compiled):
    x, y = ranking_batch()
    x = {"features": x["features"]}
    model = linear(cls, kernel_regularizer=keras.regularizers.L2(0.1))
    model.compile("sgd", loss_weights=loss_weights, **compiled)
    options = {"validation_data": (x, y), "epochs": 3, "verbose": 0}
    return model.fit(x, y, callbacks=list(callbacks), **options)


def history_of(model, logs):
    """What `fit` of a model returns."""
    history = keras.callbacks.History()
    history.set_model(model)
    history.history, history.epoch = logs, list(range(len(logs["loss"])))
    return history


def model_of(**weights):
    """A model that knows the terms of its loss, which `fit` need not make first."""

    class Known(LossAwareModel):
        term_weights = weights

    return linear(Known)


WEIGHTS = {"squared": 2.0, "absolute": 0.5}


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    """What a `fit` returned, and the columns of the file that it wrote."""
    path = tmp_path_factory.mktemp("logs") / "log.csv"
    log = keras.callbacks.CSVLogger(path)
    history = fitted(WEIGHTS, metrics=["mae"], callbacks=[log])
    with path.open() as file:
        rows = list(csv.DictReader(file))
    return history, {name: [row[name] for row in rows] for name in rows[0]}


def test_each_term_its_share_and_validation_in_one_call(logged):
    history, _ = logged
    figure = plot_history(history)
    assert titles(figure) == [
        "loss",
        "squared (weight 2)",
        "absolute (weight 0.5)",
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


def test_a_dict_and_a_csv_file_draw_what_the_history_draws(logged):
    history, columns = logged
    expected = panels(plot_history(history))
    for logs in (history.history, columns):
        figure = panels(plot_history(logs, weights=WEIGHTS))
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
    figure = plot_history(logs, weights={"a": 1.0, "b": 2.0})
    assert titles(figure) == ["loss", "a_loss", "b_loss (weight 2)", "share of loss"]
    shares = drawn_shares(panels(figure)["share of loss"])
    assert {name: values.tolist() for name, values in shares.items()} == {
        "a_loss": [0.25],
        "b_loss": [0.75],
    }


# Weights 1 / epoch of `squared` and twice a trained one of `absolute`.
VARYING = {
    "loss": [8.0, 4.5, 5.0],
    "squared": [2.0, 3.0, 6.0],
    "absolute": [2.0, 1.0, 1.0],
    "fixed": [1.0, 0.5, 1.0],
    "squared_weighted": [2.0, 1.5, 2.0],
    "absolute_weighted": [4.0, 2.0, 1.0],
    "absolute_weight": [1.0, 1.0, 0.5],
    "val_loss": [7.5, 4.0, 4.5],
    "val_squared": [1.5, 2.5, 5.5],
    "val_squared_weighted": [1.5, 1.0, 1.5],
}
VARYING_SHARES = {
    "squared": [1 / 4, 1 / 3, 2 / 5],
    "absolute": [2 / 4, 4 / 9, 1 / 5],
    "fixed": [1 / 4, 2 / 9, 2 / 5],
}


@pytest.mark.parametrize("known", ["by the model", "by name"])
def test_where_a_weight_varies_its_part_is_the_logged_one(known):
    weights = {"squared": 9.0, "absolute": 2.0, "fixed": 2.0}  # 9: as it is when drawn
    if known == "by the model":
        weights["squared"] = keras.Variable(9.0, trainable=False)
        figure = plot_history(history_of(model_of(**weights), VARYING))
    else:
        figure = plot_history(VARYING, weights=weights)
    assert titles(figure) == [
        "loss",
        "squared (weight varies)",
        "absolute (weight varies)",
        "fixed (weight 2)",
        "share of loss",
        "absolute_weight",
    ]
    shares = drawn_shares(panels(figure)["share of loss"])
    for name, expected in VARYING_SHARES.items():
        np.testing.assert_allclose(shares[name], expected, rtol=1e-12)
    assert line(panels(figure)["squared"], "training").tolist() == [[1, 2, 3], [2, 3, 6]]
    assert line(panels(figure)["squared"], "validation").tolist() == [[1, 2, 3], [1.5, 2.5, 5.5]]


def test_a_term_of_the_model_that_has_no_weight_of_its_own_weighs_1():
    logs = {"loss": [3.0], "a": [1.0], "b": [2.0]}
    figure = plot_history(history_of(model_of(a=1.0, b=1.0, later=1.0), logs))
    assert titles(figure) == ["loss", "a", "b", "share of loss"]


def test_weights_that_are_no_longer_those_of_the_training_draw_no_shares():
    logs = {"loss": [3.0, 2.0], "a": [1.0, 1.0], "b": [2.0, 1.0]}
    history = history_of(model_of(a=2.0, b=1.0), logs)
    with pytest.warns(UserWarning, match="shares of the loss are not drawn.*leave 1 of a loss"):
        assert titles(plot_history(history)) == ["loss", "a (weight 2)", "b"]
    assert "share of loss" in titles(plot_history(history, weights={"a": 1.0}))


def test_negative_parts_are_drawn_below_zero():
    logs = {"loss": [1.0, -1.0], "norm": [-1.0, -3.0], "fit": [1.0, 1.0]}
    figure = plot_history(logs, weights={"norm": 1.0, "fit": 2.0})
    shares = drawn_shares(panels(figure)["share of loss"])
    np.testing.assert_allclose(shares["norm"], [-1 / 3, -3 / 5])
    np.testing.assert_allclose(shares["fit"], [2 / 3, 2 / 5])
    bases = [patch.get_data().baseline for patch in panels(figure)["share of loss"].patches]
    assert [base.tolist() for base in bases] == [[0, 0], [0, 0]]


def test_a_single_term_is_the_loss_and_drawn_once():
    history = history_of(model_of(squared=1.0), {"loss": [2.0, 1.0], "squared": [2.0, 1.0]})
    figure = plot_history(history)
    assert titles(figure) == ["loss = squared"]
    assert line(figure.axes[0], "training").tolist() == [[1, 2], history.history["loss"]]


def test_a_single_compiled_loss_is_what_regularization_leaves():
    history = fitted(cls=LossAwareModel, loss="mae")
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
    figure = plot_history(logs, weights={"a": 1.0, "b": 1.0})
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
        ({"loss": ["x"]}, {}, ValueError, "one number per epoch.*'loss'"),
        ({"loss": [1, 2], "a": [1]}, {}, ValueError, "one value per epoch.*1 of 'a' for 2"),
        (
            {"loss": [1.0], "a": [1.0]},
            {"weights": {"b": 1}},
            ValueError,
            r"`weights` must name terms.*'b', where it has \['a', 'loss'\]",
        ),
        (
            {"loss": [1.0, 3.0], "a": [1.0, 1.0]},
            {"weights": {"a": 1}},
            ValueError,
            r"must name every term.*\['a'\], which leave 2 of a loss of 3 in epoch 2",
        ),
        (
            {"loss": [1.0, 3.0], "a": [1.0, 1.0]},
            {"weights": {"a": [1, 3]}},
            ValueError,
            r"one number per term. Received: \[1, 3\] for 'a'.*`a_weighted`",
        ),
    ],
)
def test_bad_input(history, options, error, message):
    with pytest.raises(error, match=message):
        plot_history(history, **options)
    assert not plt.get_fignums()


def test_matplotlib_is_imported_only_to_draw_and_its_extra_is_named(monkeypatch):
    for name in ("matplotlib", "matplotlib.pyplot"):
        monkeypatch.setitem(sys.modules, name, None)  # as if it were not installed
    fresh = runpy.run_path(plots_history.__file__)
    with pytest.raises(ImportError, match=r"`pip install 'keras-trainsteps\[plot\]'`"):
        fresh["plot_history"]({"loss": [1.0]})


@pytest.mark.slow
def test_the_package_is_imported_without_matplotlib():
    code = """
import sys
sys.modules["matplotlib"] = None
import keras_trainsteps
from keras_trainsteps.plots import plot_history
plot_history({"loss": [1.0]})
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert re.search(r"ImportError.*`pip install 'keras-trainsteps\[plot\]'`", run.stderr)
