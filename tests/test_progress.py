"""`TermProgress`: the order of a line, on terminals of any width and in a pipe."""

import io
import re

import keras
import numpy as np
import pytest
from rich.console import Console

from keras_trainsteps import LossAwareModel, TermProgress
from keras_trainsteps.progress import in_order
from tests.models import linear


class Terms(LossAwareModel):
    def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
        return {"a_small": keras.ops.square(y_pred - y), "b_large": keras.ops.abs(y_pred - y)}


def printed(terminal, width, epochs=2, **options):
    model = linear(Terms, kernel_regularizer=keras.regularizers.L2(0.1))
    model.compile(keras.optimizers.SGD(0.0), metrics=["mae"], run_eagerly=True, **options)
    to = Console(file=io.StringIO(), width=width, force_terminal=terminal, highlight=False)
    data = np.ones((4, 3)), np.zeros((4, 1))
    model.fit(
        *data,
        batch_size=2,
        epochs=epochs,
        verbose=0,
        validation_data=data,
        callbacks=[TermProgress(to)],
    )
    return to.file.getvalue()


def test_terms_come_by_the_size_of_their_parts():
    weights = {"small": 0.1, "large": -2.0, "varies": object()}
    logs = {"acc": 0.5, "large": 1.0, "loss": 2.0, "regularization": 3.0, "small": 5.0}
    logs |= {"varies": 9.0, "varies_weighted": 1.0, "val_acc": 1.0, "val_loss": 2.0}
    expected = ["loss", "large", "varies", "small", "regularization", "acc", "varies_weighted"]
    assert in_order(logs, weights) == [*expected, "val_loss", "val_acc"]


def test_in_a_pipe_each_epoch_is_one_whole_line():
    lines = printed(False, 40, loss_weights={"a_small": 0.01}).splitlines()
    assert len(lines) == 2
    assert re.match(r"epoch 2/2  \d+ s  loss 3\.39", lines[1])
    names = re.findall(r"([a-z_]+) -?[\d.]", lines[1].split(" s  ")[1])
    parts = ["loss", "b_large", "a_small", "regularization", "mae"]
    assert names == [*parts, *(f"val_{name}" for name in parts)]


@pytest.mark.parametrize("width", [40, 80])
def test_on_a_terminal_no_line_is_wider_than_it(width):
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", printed(True, width))
    lines = [line for line in re.split(r"[\r\n]", text) if line.strip()]
    assert all(len(line.rstrip()) <= width for line in lines)
    ends = [line for line in lines if " s  loss" in line]
    assert len(ends) == 2
    assert all(line.rstrip().endswith("…") for line in ends)


def test_another_model_and_a_run_that_was_broken_off():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", loss="mse", run_eagerly=True)
    to = Console(file=io.StringIO(), width=80, force_terminal=True)
    progress = TermProgress(to)

    class Stops(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise KeyboardInterrupt

    x = np.ones((2, 1))
    with pytest.raises(KeyboardInterrupt):
        model.fit(x, x, verbose=0, callbacks=[progress, Stops()])
    model.fit(x, x, verbose=0, callbacks=[progress])
    assert "loss" in to.file.getvalue()
