"""What a step trains, and what layers are told while it does."""

import warnings

import keras
import numpy as np
import pytest
from keras import ops

from keras_trainsteps import LossAwareModel
from tests.toy import X, Y, close, dense, fit, network, still

SCALED = 1.5  # of the student's kernel of ones, so that teacher and student differ


class Distilled(LossAwareModel):
    """A student that is trained to give what its teacher gives."""

    def __init__(self, inputs=None, outputs=None, **options):
        super().__init__(inputs, outputs, **options)
        self.teacher = keras.Sequential([keras.Input((3,)), dense()])

    def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
        return {"gap": ops.square(SCALED * y_pred - self.teacher(x))}


class DistilledByCall(LossAwareModel):
    """The same, with a `call` of its own."""

    def __init__(self, **options):
        super().__init__(**options)
        self.student = dense(name="dense")
        self.teacher = keras.Sequential([keras.Input((3,)), dense()])

    def call(self, x):
        return self.student(x)

    compute_losses = Distilled.compute_losses


def distilled(kind, **attributes):
    cls = type("Of", (Distilled if kind == "functional" else DistilledByCall,), attributes)
    return network(cls) if kind == "functional" else cls()


def trained_once(model, run_eagerly=False, **options):
    model.compile(keras.optimizers.SGD(0.1), run_eagerly=run_eagerly, **options)
    model.fit(X, Y, batch_size=10, verbose=0)
    return model


KINDS = pytest.mark.parametrize("kind", ["functional", "with a call"])
MODES = pytest.mark.parametrize("run_eagerly", [False, True], ids=["graph", "eager"])


@MODES
@KINDS
def test_a_layer_that_the_hook_alone_calls_is_warned_of_once(kind, run_eagerly):
    model = distilled(kind)
    with pytest.warns(UserWarning, match=r"calls the layers \['teacher'\], and trains"):
        trained_once(model, run_eagerly)
    model.fit(X, Y, batch_size=4, verbose=0)  # warnings are errors
    assert np.all(model.teacher.layers[0].kernel.numpy() != 1.0)


@MODES
@KINDS
@pytest.mark.parametrize("way_out", ["frozen", "trains", "a property"])
def test_what_the_warning_names_leaves_the_teacher_as_it_is(kind, way_out, run_eagerly):
    student = "dense" if kind == "functional" or way_out == "a property" else "student"
    named = {
        "frozen": {},
        "trains": {"trains": (student,)},
        "a property": {"trains": property(lambda self: self.get_layer(student))},
    }[way_out]
    keras.utils.clear_session()
    model = distilled(kind, **named)
    model.teacher.trainable = way_out != "frozen"
    trained_once(model, run_eagerly)
    assert np.all(model.teacher.layers[0].kernel.numpy() == 1.0)
    inputs = X.astype("float64")
    slope = np.mean(2 * SCALED * (SCALED - 1) * inputs.sum(1, keepdims=True) * inputs, axis=0)
    kernel = model.get_layer("dense").kernel
    assert kernel.numpy()[:, 0] == close(1 - 0.1 * slope)


@KINDS
def test_a_layer_of_the_hook_that_is_named_is_trained_without_a_word(kind):
    keras.utils.clear_session()
    student = "dense" if kind == "functional" else "student"
    model = distilled(kind, trains=(student, "teacher"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trained_once(model)
    inputs = X.astype("float64")
    slope = np.mean(-2 * (SCALED - 1) * inputs.sum(1, keepdims=True) * inputs, axis=0)
    assert model.teacher.layers[0].kernel.numpy()[:, 0] == close(1 - 0.1 * slope)


def test_the_optimizer_has_state_of_what_is_trained_alone():
    model = distilled("with a call", trains="student")
    model.compile("adam")
    model.fit(X, Y, verbose=0)
    shapes = [tuple(each.shape) for each in model.optimizer.variables]
    assert shapes == [(), (), (3, 1), (3, 1)]


def test_an_unknown_name_of_what_is_trained_is_refused():
    model = distilled("with a call", trains=("students",))
    model.compile("sgd")
    with pytest.raises(ValueError, match=r"`trains` must name.*'students'.*'student', 'teacher'"):
        fit(model)


@MODES
def test_layers_are_told_to_train_by_a_call_that_does_not_name_it(run_eagerly):
    class Normed(LossAwareModel):
        def __init__(self):
            super().__init__()
            self.normed = keras.layers.BatchNormalization(epsilon=0.0)

        def call(self, x):
            return self.normed(x)

    model = still(Normed(), loss="mse", run_eagerly=run_eagerly)
    targets = np.zeros_like(X)
    logs = model.fit(X, targets, batch_size=10, verbose=0).history
    inputs = X.astype("float64")
    normed = (inputs - inputs.mean(0)) / inputs.std(0)
    assert logs["loss"] == [close(np.mean(normed**2))]  # of statistics of the batch
    moving = 0.01 * inputs.mean(0)
    assert model.normed.moving_mean.numpy() == close(moving)
    evaluated = model.evaluate(X, targets, batch_size=10, verbose=0)
    variance = 0.99 + 0.01 * inputs.var(0)
    assert evaluated == close(np.mean((inputs - moving) ** 2 / variance))
