"""Keras's own tests on our models: equal, or different for a reason that is written down."""

import keras
import pytest

import keras_trainsteps
from tests.keras_own import rewriting
from tests.keras_own.differences import REASONS
from tests.keras_own.running import FOLDERS, compared, modules_in

SOURCE = """
import keras
from keras import models
from keras.src.models import Functional

inputs = keras.Input((3,))
made = [
    keras.Model(inputs, keras.layers.Dense(1)(inputs)),
    models.Sequential([keras.layers.Dense(1)]),
    Functional(inputs, keras.layers.Dense(1)(inputs)),
]
class Own(keras.Model):
    pass

plain = isinstance(made[0], keras.Model), keras.layers.Dense(1)
"""


@pytest.mark.parametrize("with_ours", [True, False])
def test_models_that_are_built_or_subclassed_are_ours(with_ours):
    names = {}
    exec(rewriting.rewritten(SOURCE, "source", with_ours=with_ours), names)
    ours = [isinstance(model, keras_trainsteps.LossAwareModel) for model in names["made"]]
    assert ours == [with_ours] * 3
    assert isinstance(names["made"][1], keras.Sequential)
    assert issubclass(names["Own"], keras_trainsteps.LossAwareModel) == with_ours
    assert names["plain"][0]


def test_the_tests_of_keras_are_installed_with_it():
    assert {"models/model_test.py", "trainers/trainer_test.py"} <= set(modules_in(*FOLDERS))


@pytest.mark.slow
@pytest.mark.parametrize("folder", FOLDERS)
def test_keras_gives_the_same_outcomes_and_numbers_on_our_models(folder):
    tests = compared(modules_in(folder))
    assert any(test.built and test.outcome == "passed" for test in tests)
    found = {test.name: test.difference for test in tests if test.difference}
    known = {name for name in REASONS if name.split("::")[0] in modules_in(folder)}
    assert {name: each for name, each in found.items() if name not in known} == {}
    assert known - set(found) == set()  # the table is up to date
