"""What is kept of a run of Keras's tests: the outcome of each, and every number it looks at."""

import functools
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.src.backend.tensorflow.trainer import TensorFlowTrainer

import keras_trainsteps

METHODS = ["fit", "evaluate", "predict", "train_on_batch", "test_on_batch", "predict_on_batch"]
LARGE = 1000
SEED = 11


class Recorder:
    """A plugin of pytest.

    Attributes:
        records: By name of test: `outcome`, `why` it failed, the `numbers` in their order, and
            whether one of our models was `built`.
    """

    def __init__(self):
        self.records = {}
        self.numbers = []
        self.built = 0
        self.depth = 0
        for name in METHODS:
            self.follow(TensorFlowTrainer, name, self.of_call)
        self.follow(keras_trainsteps.LossAwareModel, "_begin", self.of_model)

        draw = np.random.seed  # some tests draw their data anew, by `seed(None)`
        np.random.seed = lambda seed=None: draw(SEED if seed is None else seed)

        keras.utils.set_random_seed(SEED)  # of data that modules draw when they are imported

    def follow(self, owner, name, note):
        """Hands the arguments and the result of each outermost call of a method to `note`."""
        method = getattr(owner, name)

        @functools.wraps(method)
        def run(*args, **kwargs):
            self.depth += 1
            try:
                result = method(*args, **kwargs)
            finally:
                self.depth -= 1
            if self.depth == 0 or note == self.of_model:
                note(name, args, result)
            return result

        setattr(owner, name, run)

    def of_model(self, name, args, result):
        self.built += 1

    def of_call(self, name, args, result):
        if isinstance(result, keras.callbacks.History):
            result = result.history
        self.numbers.append((name, numbers_in(result)))
        if name in ("fit", "train_on_batch"):
            weights = [weight.numpy() for weight in args[0].weights if weight.dtype != "string"]
            self.numbers.append((f"weights after {name}", numbers_in(weights)))

    def of_assertion(self, name, args, result):
        self.numbers.append((name, numbers_in(args[1:])))

    def pytest_collection_modifyitems(self, items):
        from keras.src.testing import TestCase

        for name in dir(TestCase):
            if name.startswith("assert") and name[6:7].isupper():
                self.follow(TestCase, name, self.of_assertion)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item):
        self.numbers, self.built, self.depth = [], 0, 0
        keras.utils.set_random_seed(SEED)
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item, call):
        report = yield
        record = self.records.setdefault(name_of(item), {"outcome": "passed", "why": ""})
        if report.outcome != "passed":
            why = call.excinfo.exconly() if call.excinfo else ""
            record.update(outcome=report.outcome, why=why, text=str(report.longrepr)[-3000:])
        if call.when == "call":
            record.update(numbers=self.numbers, built=self.built, seconds=call.duration)
        return report

    def pytest_collectreport(self, report):
        if report.failed:
            self.records[report.nodeid] = {
                "outcome": "not collected",
                "why": str(report.longrepr)[-300:],
                "built": 0,
            }


def name_of(item):
    """`models/model_test.py::ModelTest::test_reset`, the same wherever Keras is installed."""
    return f"{item.path.as_posix().split('keras/src/')[-1]}::{item.nodeid.split('::', 1)[1]}"


def numbers_in(value):
    """The numbers in a structure, by path; of a large array its sums."""
    if isinstance(value, dict):
        # A shared object is numbered by where it lies in memory.
        kept = {key: each for key, each in value.items() if key != "shared_object_id"}
        return {
            re.sub(" at 0x.*>", ">", str(key)): numbers_in(each) for key, each in kept.items()
        }
    if isinstance(value, (list, tuple)):
        return [numbers_in(each) for each in value]
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return None
    if isinstance(value, tf.RaggedTensor):
        value = value.flat_values
    if isinstance(value, tf.SparseTensor):
        value = value.values
    is_number = isinstance(
        value, (int, float, np.ndarray, np.generic, keras.Variable, tf.Variable)
    )
    if not (is_number or tf.is_tensor(value)):
        return None
    try:
        array = np.asarray(keras.ops.convert_to_numpy(value))
    except (NotImplementedError, TypeError, ValueError):  # symbolic
        return None
    if array.dtype.kind not in "iufb" and array.dtype.name != "bfloat16":
        return None
    array = array.astype("float64")
    if array.size <= LARGE:
        return array
    return np.array([array.size, array.sum(), np.abs(array).sum(), array.ravel()[::97].sum()])
