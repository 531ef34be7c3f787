"""The variables of a job are restored by name, whole or not at all."""

import keras
import numpy as np
import pytest

from keras_trainsteps.rolling.resume.directory import Checkpoint
from keras_trainsteps.rolling.resume.variables import restore_variables


def checkpoint(**values):
    return Checkpoint(1, 0, False, {}, {k.replace("__", "|"): v for k, v in values.items()})


def one():
    return {"weight|a": keras.Variable(np.zeros(2, "float32"), name="a")}


@pytest.mark.parametrize(
    ("saved", "match"),
    [
        (
            {"weight__a": np.ones(2)},
            r"weight.a is \(\(2,\), 'float32'\), was \(\(2,\), 'float64'\)",
        ),
        ({"weight__a": np.ones(3, "float32")}, r"weight.a is .*, was \(\(3,\)"),
        ({}, "weight.a is not in the checkpoint"),
        (
            {"weight__a": np.ones(2, "float32"), "weight__b": np.ones(2)},
            "weight.b is not in the model",
        ),
    ],
)
def test_a_value_that_does_not_fit_is_refused(saved, match):
    variables = one()
    with pytest.raises(ValueError, match=match):
        restore_variables(variables, checkpoint(**saved), metrics=False)
    assert not np.any(variables["weight|a"])


def test_a_metric_that_is_not_made_yet_begins_at_0():
    variables = one()
    saved = {"weight__a": np.ones(2, "float32"), "metric__later": np.zeros(())}
    restore_variables(variables, checkpoint(**saved), metrics=True)
    assert np.all(variables["weight|a"])


def test_a_metric_that_holds_something_is_not_forgotten():
    saved = {"weight__a": np.ones(2, "float32"), "metric__later": np.ones(())}
    with pytest.raises(ValueError, match=r"metric.later is not in the model"):
        restore_variables(one(), checkpoint(**saved), metrics=True)


def test_metrics_are_restored_within_an_epoch_alone():
    saved = {"weight__a": np.ones(2, "float32"), "metric__m": np.ones((), "float32")}
    for within in (True, False):
        metric = keras.Variable(0.0)
        variables = {**one(), **({"metric|m": metric} if within else {})}
        restore_variables(variables, checkpoint(**saved), metrics=within)
        assert float(metric) == within
