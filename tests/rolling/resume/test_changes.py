"""A job is refused when anything changed that decides how it goes on, with what changed."""

import functools
import json
import re
import types

import keras
import numpy as np
import pytest

from keras_trainsteps import LossAwareModel, penalties
from keras_trainsteps.losses import PairwiseLogistic
from keras_trainsteps.rolling.resume.description import description_of
from keras_trainsteps.rolling.resume.differences import differences
from tests.rolling.resume.crashes import X, Y, fit, plain

Schedule = keras.optimizers.schedules.CosineDecay
Stopping = keras.callbacks.EarlyStopping


def sgd(rate, **options):
    return lambda: plain(optimizer=keras.optimizers.SGD(rate, **options))


def compiled(**options):
    return lambda: plain(**options)


def layered(*layers):
    """A model with layers that are made anew each time."""
    return lambda: plain(*(make() for make in layers))


def closure(alpha):
    def scaled(y_true, y_pred):
        return alpha * keras.ops.square(y_true - y_pred)

    return scaled


def other_code():
    def scaled(y_true, y_pred):
        return 0.5 * keras.ops.abs(y_true - y_pred)

    return scaled


def defaulted(alpha):
    def scaled(y_true, y_pred, alpha=alpha):
        return alpha * keras.ops.square(y_true - y_pred)

    return scaled


def powered(y_true, y_pred, power=2.0):
    return keras.ops.abs(y_true - y_pred) ** power


def reading(**constants):
    """A function that reads globals of its module: another module in each job."""
    module = types.ModuleType("own_losses")
    vars(module).update(keras=keras, **constants)
    exec(
        "def helper(v): return SCALE * v\ndef mine(y, p): return helper(keras.ops.abs(y - p))",
        vars(module),
    )
    for function in (module.helper, module.mine):
        function.__module__ = "own_losses"
    return module.mine


class Scaled(keras.losses.Loss):
    """Keras knows nothing of its option: it has no `get_config`."""

    def __init__(self, alpha):
        super().__init__()
        self.alpha = alpha

    def call(self, y_true, y_pred):
        return self.alpha * keras.ops.square(y_true - y_pred)


class Decay(keras.optimizers.schedules.LearningRateSchedule):
    def __init__(self, rate):
        self.rate = rate

    def __call__(self, step):
        return self.rate / (1.0 + keras.ops.cast(step, "float32"))


class Hooked(LossAwareModel):
    def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
        scale = self.alpha + getattr(self, "_beta", 0.0)
        return {"squared": scale * keras.ops.square(y_pred - y)}


class OtherHook(LossAwareModel):
    def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
        return {"squared": self.alpha * keras.ops.abs(y_pred - y)}


OtherHook.__qualname__ = Hooked.__qualname__


def hooked(cls=Hooked, alpha=1.0, weight=1.0):
    def make():
        model = plain(cls=cls, loss_weights={"squared": weight})
        model.alpha = alpha
        return model

    return make


def private(beta):
    def make():
        model = hooked()()
        model._beta = beta
        return model

    return make


def weighted(value):
    """Loss weights that are variables: their values are state."""
    return lambda: plain(
        cls=Hooked, loss_weights={"squared": keras.Variable(value, trainable=False), "b": 0.5}
    )


def penalised(term):
    def make():
        model = plain(cls=LossAwareModel)
        model.add_loss(term, name="norm")
        model.compile("sgd", loss="mse", run_eagerly=True)
        return model

    return make


def frozen(trainable):
    def make():
        model = plain()
        model.get_layer("a").trainable = trainable
        model.compile("sgd", loss="mse", run_eagerly=True)
        return model

    return make


class Noise(keras.layers.Layer):
    """Has no config; its option is an attribute."""

    def __init__(self, size):
        super().__init__()
        self.size = size

    def call(self, x):
        return x * self.size


class Later(keras.callbacks.Callback):
    """A callback of one's own with an option."""

    def __init__(self, epochs):
        super().__init__()
        self.epochs = epochs

    def get_state(self):
        return {}

    def set_state(self, state):
        pass


def called(*callbacks):
    return {"callbacks": list(callbacks)}


def norm(factor):
    return penalties.WeightPenalty(
        penalties.sum_of_norms, weights=["*/kernel"], coefficient=factor
    )


# Each case: what a job began with, what it is called with again, what is said.
MODELS = {
    "learning rate": (sgd(0.1), sgd(0.2), "'optimizer.learning_rate' is 0.2, was 0.1"),
    "momentum": (sgd(0.1), sgd(0.1, momentum=0.5), "'optimizer.momentum' is 0.5, was 0.0"),
    "clipping": (sgd(0.1), sgd(0.1, clipnorm=1.0), "'optimizer.clipnorm' is 1.0, was None"),
    "schedule": (sgd(Schedule(0.1, 5)), sgd(Schedule(0.1, 6)), "learning_rate.decay_steps' is 6"),
    "schedule for rate": (sgd(0.1), sgd(Schedule(0.1, 5)), r"learning_rate' is .*CosineDecay"),
    "schedule of one's own": (sgd(Decay(0.1)), sgd(Decay(0.2)), "learning_rate.rate' is 0.2"),
    "loss": (compiled(loss="mse"), compiled(loss="mae"), "'loss' is mae, was mse"),
    "loss function": (compiled(loss=closure(0.5)), compiled(loss=other_code()), "'loss'"),
    "its closure": (
        *(compiled(loss=closure(0.5)), compiled(loss=closure(0.3))),
        "'loss.closure.alpha' is 0.3, was 0.5",
    ),
    "its default": (
        *(compiled(loss=defaulted(0.5)), compiled(loss=defaulted(0.3))),
        r"'loss.defaults\[0\]' is 0.3, was 0.5",
    ),
    "its partial": (
        compiled(loss=functools.partial(powered, power=1.5)),
        compiled(loss=functools.partial(powered, power=2.5)),
        "'loss.keywords.power' is 2.5, was 1.5",
    ),
    "its globals": (
        *(compiled(loss=reading(SCALE=1.0)), compiled(loss=reading(SCALE=2.0))),
        "the code of 'loss', mine, is another",
    ),
    "loss option": (
        compiled(loss=keras.losses.Huber(delta=1.0)),
        compiled(loss=keras.losses.Huber(delta=2.0)),
        "'loss.*delta' is 2.0, was 1.0",
    ),
    "option of a loss of one's own": (
        *(compiled(loss=Scaled(0.5)), compiled(loss=Scaled(0.3))),
        "'loss.alpha' is 0.3, was 0.5",
    ),
    "option of a loss of ours": (
        compiled(cls=LossAwareModel, loss=PairwiseLogistic(None)),
        compiled(cls=LossAwareModel, loss=PairwiseLogistic(None, normalize="queries")),
        "'loss.given.normalize' is queries",
    ),
    "loss weight": (
        *(compiled(loss_weights=0.5), compiled(loss_weights=0.3)),
        "'loss_weights' is 0.3, was 0.5",
    ),
    "weight of a term": (
        *(hooked(weight=0.5), hooked(weight=0.3)),
        "'loss_weights.squared' is 0.3, was 0.5",
    ),
    "metrics": (
        *(compiled(metrics=["mae"]), compiled(metrics=["mse"])),
        r"'metrics\[0\]' is mse, was mae",
    ),
    "option of a metric": (
        compiled(metrics=[keras.metrics.BinaryAccuracy(threshold=0.5)]),
        compiled(metrics=[keras.metrics.BinaryAccuracy(threshold=0.4)]),
        r"'metrics\[0\].threshold' is 0.4, was 0.5",
    ),
    "run_eagerly": (
        *(compiled(), compiled(run_eagerly=False)),
        "'run_eagerly' is False, was True",
    ),
    "jit_compile": (
        compiled(run_eagerly=False),
        compiled(run_eagerly=False, jit_compile=True),
        "'jit_compile' is True, was False",
    ),
    "hook": (hooked(), hooked(OtherHook), "the code of 'model', Hooked, is another"),
    "what the hook reads": (
        *(hooked(alpha=1.0), hooked(alpha=2.0)),
        "'model.attributes.alpha' is 2.0, was 1.0",
    ),
    "a private attribute": (
        *(private(0.5), private(0.3)),
        "'model.attributes._beta' is 0.3, was 0.5",
    ),
    "penalty": (penalised(norm(0.5)), penalised(norm(0.3)), "'model.added.*' is 0.3, was 0.5"),
    "noise": (
        layered(lambda: keras.layers.Dropout(0.5)),
        layered(lambda: keras.layers.Dropout(0.3)),
        "'model.layers.dropout.config.rate' is 0.3, was 0.5",
    ),
    "regularizer": (
        layered(lambda: keras.layers.Dense(2, kernel_regularizer="l2")),
        layered(lambda: keras.layers.Dense(2)),
        "'model.layers.dense.config.kernel_regularizer' is None, was .*'L2'",
    ),
    "layer of one's own": (
        *(layered(lambda: Noise(0.5)), layered(lambda: Noise(0.3))),
        r"'model.own\[0\].attributes.size' is 0.3, was 0.5",
    ),
    "frozen layer": (frozen(True), frozen(False), "'model.layers.a.config.trainable' is False"),
}
OPTIONS = {
    "class weight": (
        *({"class_weight": {0: 1.0, 1: 2.0}}, {"class_weight": {0: 1.0, 1: 3.0}}),
        "'class_weight.1' is 3.0, was 2.0",
    ),
    "patience": (
        *(called(Stopping(patience=1)), called(Stopping(patience=2))),
        r"'callbacks\[0\].patience' is 2, was 1",
    ),
    "callback": (called(), called(Stopping()), "'callbacks' is"),
    "schedule of rates": (
        called(keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.7)),
        called(keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.5)),
        r"the code of 'callbacks\[0\].schedule', .*lambda.*, is another",
    ),
    "callback of one's own": (
        *(called(Later(1)), called(Later(2))),
        r"'callbacks\[0\].epochs' is 2, was 1",
    ),
    "validation data": (
        *({"validation_data": (X, Y)}, {"validation_data": (X, 1 - Y)}),
        r"'validation_data\[1\].sha256' is",
    ),
    "validation frequency": (
        {"validation_data": (X, Y)},
        {"validation_data": (X, Y), "validation_freq": 2},
        "'validation_freq' is 2, was 1",
    ),
}


def described(model, callbacks=(), validation_data=None, **options):
    """The description of a job as a file gives it back."""
    given = {"class_weight": None, "validation_freq": 1, **options}
    found, _ = description_of(model(), callbacks, [], validation_data, **given)
    return json.loads(json.dumps(found))


@pytest.mark.parametrize("case", MODELS)
def test_a_changed_model_is_seen(case):
    before, after, match = MODELS[case]
    first = described(before)
    assert differences(described(before), first) == []
    assert re.search(match, "; ".join(differences(described(after), first)))


@pytest.mark.parametrize("case", OPTIONS)
def test_a_changed_call_is_seen(case):
    before, after, match = OPTIONS[case]
    first = described(plain, **before)
    assert differences(described(plain, **before), first) == []
    assert re.search(match, "; ".join(differences(described(plain, **after), first)))


def begin(directory, model=plain, **options):
    """Takes a directory for a job without training anything."""
    fit(directory, model, **{**options, "epochs": 0})


def test_what_changed_is_refused(tmp_path):
    begin(tmp_path, sgd(0.1))
    begin(tmp_path, sgd(0.1))
    match = r"'optimizer.learning_rate' is 0.2, was 0.1. Restore it, or begin a new job"
    with pytest.raises(ValueError, match=match):
        begin(tmp_path, sgd(0.2))


def test_the_value_of_a_loss_weight_that_is_a_variable_is_no_change():
    assert described(weighted(1.0)) == described(weighted(0.5))
    for weight in (keras.Variable(1.0, trainable=False), [keras.Variable(1.0, trainable=False)]):
        found = described(
            lambda weight=weight: plain(cls=LossAwareModel, loss="mse", loss_weights=weight)
        )
        assert "a variable" in str(found["loss_weights"])


def test_a_change_of_vocabulary_is_refused():
    def looked_up(*tokens):
        inputs = keras.Input((), dtype="string")
        lookup = keras.layers.StringLookup()
        lookup.adapt(np.array(tokens))
        model = keras.Model(inputs, keras.layers.Embedding(4, 2)(lookup(inputs)))
        model.compile("sgd", loss="mse")
        return described(lambda: model)

    assert looked_up("a", "b") == looked_up("a", "b")
    assert looked_up("a", "b") != looked_up("b", "c")


def test_names_that_keras_counts_are_no_change():
    def make():
        inputs = keras.Input((3,))
        hidden = keras.layers.Dropout(0.5)(keras.layers.Dense(2)(inputs))
        model = keras.Model(inputs, keras.layers.Dense(1)(hidden))
        metrics = [keras.metrics.MeanSquaredError(), Own()]
        model.compile(
            keras.optimizers.Adam(), loss=Scaled(0.5), metrics=metrics, run_eagerly=True
        )
        return model

    class Own(keras.metrics.Mean):
        def __init__(self):
            super().__init__(name="own")

        def update_state(self, y_true, y_pred, sample_weight=None):
            super().update_state(y_pred)

    assert described(make) == described(make)


def test_a_rate_that_a_callback_lowered_is_no_change(tmp_path):
    def halved():
        return keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.5)

    model, _ = fit(tmp_path, sgd(0.1), [halved()], epochs=1)
    fit(tmp_path, model, [halved()], epochs=2)  # as in a notebook
    np.testing.assert_allclose(model.optimizer.learning_rate, 0.1 * 0.5**2)
    model.optimizer.learning_rate = 0.3
    with pytest.raises(ValueError, match=r"'optimizer.learning_rate' is 0.3, was 0.1"):
        fit(tmp_path, model, [halved()], epochs=3)


def test_a_job_of_another_format_is_refused(tmp_path):
    begin(tmp_path)
    path = tmp_path / "run.json"
    path.write_text(path.read_text().replace('"format_version":2', '"format_version":1'))
    with pytest.raises(ValueError, match="with the version of keras_trainsteps that began"):
        begin(tmp_path)
