"""Objectives: what each trains, how often, by which optimizer, and what is logged or refused.

Where a loss is the mean of a linear network on rows of ones, its slope is 1: the weight tells
how often it was updated.
"""

import keras
import numpy as np
import pytest
from keras import ops

from keras_trainsteps import ForObjective, LossAwareModel, LossTerm, Objective
from tests.toy import close

ONES = np.ones((10, 1), "float32")
RATE = 0.125  # sums of it are exact


def linear(**options):
    layer = keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros", **options)
    layer.build((None, 1))
    return layer


class Two(LossAwareModel):
    """Two linear networks, each with an objective that moves its weight by -RATE."""

    def __init__(self, **options):
        super().__init__(**options)
        self.one, self.other = linear(), linear()

    def first(self, x):
        return {"first_term": ops.mean(self.one(x))}

    def second(self, x):
        return {"second_term": ops.mean(self.other(x))}

    def objectives(self):
        return {
            "first": Objective(self.first, trains=self.one),
            "second": Objective(self.second, trains="other"),
        }


def with_objectives(base=Two, **objectives):
    """A class whose objectives are made by these functions of the model."""

    def made(self):
        return {name: make(self) for name, make in objectives.items()}

    return type("Of", (base,), {"objectives": made})


def first(**options):
    return lambda model: Objective(model.first, **{"trains": model.one, **options})


def second(**options):
    return lambda model: Objective(model.second, **{"trains": model.other, **options})


def compiled(cls=Two, optimizer=None, **options):
    model = cls()
    model.compile(optimizer or keras.optimizers.SGD(RATE), **options)
    return model


def fit(model, x=ONES, **options):
    return model.fit(x, batch_size=4, shuffle=False, verbose=0, **options).history


def updates(network):
    """How often a linear network was updated."""
    return -float(network.kernel[0, 0]) / RATE


def unchanged(model):
    return not np.any([np.any(weight) for weight in model.get_weights()])


MODES = pytest.mark.parametrize("run_eagerly", [False, True], ids=["graph", "eager"])
# An eager step is traced before the first: what is refused there is refused in a graph, too.
REFUSED = pytest.mark.parametrize(
    "run_eagerly", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["eager", "graph"]
)


# How often


@MODES
def test_each_trains_its_own_as_often_as_it_says(run_eagerly):
    cls = with_objectives(
        first=first(repeat=2),
        second=second(every=2, when=lambda step: step >= 3),
    )
    model = compiled(cls, run_eagerly=run_eagerly)
    history = fit(model, epochs=2)  # steps 0 to 5
    assert updates(model.one) == 12
    assert updates(model.other) == 1  # step 4
    assert int(model.optimizer.iterations) == 6
    assert [int(model.optimizer[name].iterations) for name in ("first", "second")] == [12, 1]
    # Before each repeated update, weighted by rows: 4, 4, 2 in each epoch.
    values = [-RATE * np.array([k, k + 1]).mean() for k in range(0, 12, 2)]
    assert history["first"] == close(
        [np.average(v, weights=[4, 4, 2]) for v in (values[:3], values[3:])]
    )
    assert np.isnan(history["second"][0])
    assert np.isnan(history["second_term"][0])
    assert history["second"][1] == 0.0  # its value before its only update


def test_a_variable_switches_an_objective_while_it_trains():
    switch = keras.Variable(False, dtype="bool", trainable=False)
    model = compiled(with_objectives(first=first(), second=second(when=switch)))

    class SwitchOn(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            switch.assign(epoch == 1)

    fit(model, epochs=3, callbacks=[SwitchOn()])
    assert (updates(model.one), updates(model.other)) == (9, 3)


def test_evaluation_tells_the_terms_of_every_objective_and_updates_none():
    calls = []

    class Repeated(Two):
        def first(self, x, repeat, training):
            calls.append((repeat, training))
            return {"first_term": ops.mean(x) * (repeat + 1) + 0.0 * ops.mean(self.one(x))}

    cls = with_objectives(Repeated, first=first(repeat=3), second=second(every=5, repeat=2))
    model = compiled(cls, run_eagerly=True)
    logs = model.evaluate(2 * ONES, verbose=0, return_dict=True)
    assert logs == {"first": 4.0, "first_term": 4.0, "second": 0.0, "second_term": 0.0}
    assert calls == [(0, False), (1, False), (2, False)]
    assert unchanged(model)


# What each trains, and by which optimizer


def test_one_optimizer_is_copied_for_each():
    given = keras.optimizers.SGD(RATE, momentum=0.5)
    model = compiled(optimizer=given)
    assert model.optimizer.names == ("first", "second")
    copies = [model.optimizer[name] for name in model.optimizer.names]
    assert all(copy is not given and copy.momentum == 0.5 for copy in copies)
    assert copies[0] is not copies[1]


def test_the_same_optimizer_for_two_has_one_state():
    shared = keras.optimizers.SGD(RATE)
    cls = with_objectives(
        first=first(), again=lambda m: Objective(m.again, trains=m.one, after="first")
    )
    cls.again = lambda self, x: {"again_term": ops.mean(self.one(x))}
    model = compiled(cls, {"first": shared, "again": shared})
    fit(model)
    assert updates(model.one) == 6
    assert int(shared.iterations) == 6
    again = type(model.optimizer).from_config(model.optimizer.get_config())
    assert again["first"] is again["again"]


def test_networks_of_a_dict_are_updated_from_one_pass():
    class Product(Two):
        def both(self, x):
            product = (1 + self.one(x)) * (1 + self.other(x))
            return {"up": ops.mean(product), "shared": 2 * ops.mean(product)}

        def objectives(self):
            trains = {"one": ("up", "shared"), "other": "shared"}
            return {"product": Objective(self.both, trains=trains)}

    model = compiled(Product, {"one": keras.optimizers.SGD(0.1), "other": "sgd"})
    history = model.fit(ONES, batch_size=10, verbose=0).history
    assert float(model.one.kernel[0, 0]) == close(-0.1 * 3)  # with the other one still 0
    assert float(model.other.kernel[0, 0]) == close(-0.01 * 2)
    assert history == {"one": [3.0], "other": [2.0], "up": [1.0], "shared": [2.0]}


def test_gradients_may_be_changed_before_they_are_applied():
    def twice(pairs):
        return [(2 * gradient, weight) for gradient, weight in pairs]

    model = compiled(with_objectives(first=first(gradients=twice), second=second()))
    fit(model)
    assert (updates(model.one), updates(model.other)) == (6, 3)


def test_gradients_are_not_scaled_for_float16_where_they_are_changed():
    def clipped(pairs):
        return [(ops.clip(gradient, -0.5, 0.5), weight) for gradient, weight in pairs]

    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(RATE), initial_scale=8.0)
    model = compiled(with_objectives(first=first(gradients=clipped)), optimizer)
    fit(model)
    assert updates(model.one) == 1.5


def test_a_network_that_is_called_but_not_named_stays():
    model = compiled(with_objectives(first=first()))
    fit(model)
    assert (updates(model.one), updates(model.other)) == (3, 0)


# Logs


def test_what_networks_add_is_logged_beside_the_terms():
    class Penalized(Two):
        def __init__(self):
            super().__init__()
            self.one = linear(kernel_regularizer=keras.regularizers.L1(0.5))
            self.one.kernel.assign([[2.0]])
            self.other = linear(activity_regularizer=lambda output: 3.0 * ops.mean(output))
            self.other.kernel.assign([[1.0]])

    model = compiled(Penalized, keras.optimizers.SGD(0.0))
    history = fit(model, ONES[:4])
    assert history == {
        "first": [3.0],
        "first_term": [2.0],
        "first_regularization": [1.0],
        "second": [1.75],
        "second_term": [1.0],
        "second_regularization": [0.75],  # Keras divides by the rows
    }


def test_terms_are_weighed_by_name_and_summed_by_their_counts():
    class Counted(Two):
        def first(self, x):
            return {"counted": LossTerm(ops.sum(x[:1]), 1.0), "mean": ops.mean(x + self.one(x))}

    model = compiled(Counted, keras.optimizers.SGD(0.0), loss_weights={"counted": 2.0})
    x = np.arange(1, 11, dtype="float32").reshape(10, 1)
    history = fit(model, x)
    assert history["counted"] == close([(1 + 5 + 9) / 3])
    assert history["mean"] == close([5.5])
    assert history["first"] == close([2 * 5 + 5.5])


def test_weights_of_no_term_are_refused():
    model = compiled(loss_weights={"first_term": 2.0, "third_term": 1.0})
    with pytest.raises(ValueError, match=r"`loss_weights` must name.*\['third_term'\]"):
        fit(model)
    assert unchanged(model)


def test_metrics_compare_the_output_that_an_objective_asks_for():
    class Called(Two):
        def call(self, x):
            return self.one(x)

        def first(self, x, y, y_pred):
            return {"first_term": ops.mean(ops.square(y_pred - y))}

    model = compiled(Called, keras.optimizers.SGD(0.0), metrics=["mae"])
    logs = model.fit(ONES, 3 * ONES, verbose=0).history
    assert (logs["mae"], logs["first"]) == ([3.0], [9.0])
    assert model.evaluate(ONES, 3 * ONES, verbose=0, return_dict=True)["mae"] == 3.0
    assert model.predict(ONES, verbose=0).shape == (10, 1)


def test_a_callback_may_watch_an_objective():
    stop = keras.callbacks.EarlyStopping("first", mode="max", patience=0)
    model = compiled()
    assert len(fit(model, epochs=5, callbacks=stop)["first"]) == 2


# Refused before anything is changed


class Watching(keras.callbacks.Callback):
    """A callback of one's own that waits for something."""

    def __init__(self, monitor):
        super().__init__()
        self.monitor = monitor


NAMES = r"\['first', 'second'\]"


@pytest.mark.parametrize(
    ("callback", "message"),
    [
        (
            keras.callbacks.EarlyStopping(),
            rf"`monitor` must.*'val_loss', where there are {NAMES}",
        ),
        (keras.callbacks.TerminateOnNaN(), rf"`monitor` must.*'loss', where there are {NAMES}"),
        (
            keras.callbacks.ReduceLROnPlateau("first"),
            rf"`ReduceLROnPlateau` acts on one optimizer.*{NAMES}",
        ),
        (keras.callbacks.LearningRateScheduler(lambda epoch: 0.1), "acts on one optimizer"),
        (keras.callbacks.SwapEMAWeights(), "acts on one optimizer"),
        (keras.callbacks.TensorBoard(), r"`ForObjective\('first', TensorBoard\(...\)\)`"),
        (
            keras.callbacks.ModelCheckpoint("best.keras", save_best_only=True),
            "`monitor` must name what is logged",
        ),
        (
            keras.callbacks.ModelCheckpoint("{epoch}-{loss:.2f}.keras"),
            "`filepath` must name what is logged.*'loss'",
        ),
        (
            ForObjective("first", keras.callbacks.ReduceLROnPlateau("loss")),
            "`monitor` must name what is logged.*`ReduceLROnPlateau` of 'loss'",
        ),
        (Watching("val_loss"), "`monitor` must name what is logged.*`Watching` of 'val_loss'"),
    ],
)
def test_callbacks_that_would_do_nothing_are_refused(callback, message):
    model = compiled()
    with pytest.raises(ValueError, match=message):
        fit(model, callbacks=[callback])
    assert unchanged(model)


def test_callbacks_that_do_not_need_a_loss_are_not():
    model = compiled(run_eagerly=True)
    wait = [
        keras.callbacks.ModelCheckpoint("{epoch}-{first:.2f}.keras", save_freq=1000),
        keras.callbacks.EarlyStopping("val_second_term", mode="min"),
        Watching("first"),
    ]
    fit(model, callbacks=wait, validation_data=(ONES,))
    assert updates(model.one) == 3


@pytest.mark.parametrize("run_eagerly", [False, True], ids=["graph", "eager"])
def test_training_without_an_optimizer_is_refused_and_evaluating_is_not(run_eagerly):
    model = Two()
    model.compile(None, run_eagerly=run_eagerly)
    for train in (lambda: fit(model), lambda: model.train_on_batch(ONES)):
        with pytest.raises(ValueError, match="`optimizer` of `compile` must be given to train"):
            train()
    assert unchanged(model)
    logs = model.evaluate(ONES, verbose=0, return_dict=True)
    assert logs == {"first": 0.0, "first_term": 0.0, "second": 0.0, "second_term": 0.0}


@pytest.mark.parametrize("what", ["learning_rate", "apply", "scale_loss"])
def test_what_is_of_one_optimizer_is_refused_of_all(what):
    model = compiled()
    with pytest.raises(ValueError, match=rf"`{what}` must be that of one.*optimizer\['first'\]"):
        getattr(model.optimizer, what)(0.0)
    if what == "learning_rate":
        with pytest.raises(ValueError, match="learning_rate"):
            model.optimizer.learning_rate = 0.1
    with pytest.raises(KeyError, match="must be that of an objective"):
        model.optimizer["third"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"repeat": 0}, "`repeat` must be an integer of at least 1"),
        ({"every": 0}, "`every` must be an integer of at least 1"),
        ({"repeat": True}, "`repeat` must be an integer"),
        ({"when": 3}, "`when` must be a variable, or a function"),
        ({"gradients": 3}, "`gradients` must be a function"),
        ({"trains": ()}, "`trains` must name what is trained"),
        ({"losses": 3}, "`losses` must be a function"),
        ({"losses": lambda batch: {}}, r"`losses` must take arguments among.*\['batch'\]"),
    ],
)
def test_wrong_arguments_are_refused(options, message):
    given = {"losses": lambda x: {}, **options}
    with pytest.raises((TypeError, ValueError), match=message):
        Objective(given.pop("losses"), **given)


class ReturnsLoss(Two):
    def second(self, x):
        return ops.mean(self.other(x))


def test_a_hook_that_returns_no_dict_is_named():
    model = compiled(ReturnsLoss, run_eagerly=True)
    with pytest.raises(TypeError, match="`second` must return a dict of name to loss"):
        fit(model)
    assert unchanged(model)


def test_optimizers_that_are_missing_or_unknown_are_refused():
    for names in (["first"], ["first", "second", "third"]):
        with pytest.raises(ValueError, match=rf"`optimizer` must have one for each.*{NAMES}"):
            compiled(optimizer=dict.fromkeys(names, "sgd"))


def test_optimizers_by_name_need_objectives():
    with pytest.raises(ValueError, match=r"for a model with `objectives` alone.*\['a'\]"):
        LossAwareModel().compile({"a": "sgd"})


class TakesNone(Two):
    def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
        return {}


class ComputesLoss(Two):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return 0.0


class Trains(Two):
    trains = "one"


def same_term(model):
    return Objective(lambda x: {"first_term": ops.mean(model.other(x))}, trains="other")


def constant(model):
    return Objective(lambda x: {"second_term": ops.mean(model.one(x))}, trains="other")


def frozen(model):
    model.other.trainable = False
    return Objective(model.second, trains=model.other)


@pytest.mark.parametrize(
    ("cls", "options", "message"),
    [
        (with_objectives(first=first(), loss=second()), {}, "can be logged.*'loss'"),
        (with_objectives(**{"val_a": second()}), {}, "name that can be logged.*'val_a'"),
        (
            with_objectives(one=first(), other=lambda m: 3),
            {},
            "`Objective`.*'other'",
        ),
        (with_objectives(), {}, "must return a dict of name to `Objective`"),
        (
            with_objectives(a=first(), b=second(trains={"one": "x", "a": "y"})),
            {},
            "`trains` must name",
        ),
        (with_objectives(one=first(), b=second(trains={"one": "x"})), {}, "names of their own"),
        (
            with_objectives(first=first(after="second"), second=second()),
            {},
            "`after` of objective",
        ),
        (Two, {"loss": "mse"}, "are those of its objectives.*`loss` of `compile`"),
        (Two, {"metrics": ["mae"]}, "`metrics` of `compile` compare targets with `y_pred`"),
        (Two, {"metrics": [keras.metrics.Mean("first")]}, "'first'|y_pred"),
        (TakesNone, {}, "a `compute_losses` that none of them takes"),
        (ComputesLoss, {}, "a `compute_loss` of its own"),
        (Trains, {}, "a class attribute `trains`"),
    ],
)
def test_what_belongs_to_no_objective_is_refused_by_compile(cls, options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        compiled(cls, **options)


@REFUSED
@pytest.mark.parametrize(
    ("cls", "message"),
    [
        (with_objectives(first=first(), second=second(trains="others")), "'others', where there"),
        (with_objectives(first=first(), second=second(trains=None)), "say `after='first'`"),
        (with_objectives(first=first(), second=second(trains="one")), "say `after='first'`"),
        (with_objectives(first=first(), second=constant), "'second' must have a gradient"),
        (with_objectives(first=first(), second=same_term), "name of its own.*'first_term'"),
        (with_objectives(first_term=first(), second=second()), "name of its own.*'first_term'"),
        (with_objectives(first=first(), second=frozen), "what has trainable weights.*frozen"),
        (
            with_objectives(first=first(), b=second(trains={"other": ("second_term", "x")})),
            r"name each of its terms.*\['second_term', 'x'\]",
        ),
        (
            with_objectives(first=first(), second=second(gradients=lambda pairs: [(0, 0)])),
            "pairs of gradient and weight",
        ),
    ],
)
def test_what_cannot_be_trained_is_refused_before_any_update(cls, message, run_eagerly):
    model = compiled(cls, run_eagerly=run_eagerly)
    with pytest.raises(ValueError, match=message):
        fit(model)
    assert unchanged(model)
    if model.optimizer.built:
        assert int(model.optimizer.iterations) == 0


@REFUSED
def test_objectives_that_change_are_refused(run_eagerly):
    class Changing(Two):
        repeat = 1

        def objectives(self):
            return {"first": Objective(self.first, trains=self.one, repeat=self.repeat)}

    model = compiled(Changing, run_eagerly=run_eagerly)
    fit(model)
    model.repeat = 2
    with pytest.raises(ValueError, match="`objectives` must return the same in every step"):
        fit(model)
    assert updates(model.one) == 3
    model.compile(keras.optimizers.SGD(RATE), run_eagerly=run_eagerly)
    fit(model)
    assert updates(model.one) == 9


def test_what_is_added_to_a_model_of_objectives_is_refused():
    model = compiled()
    model.add_loss(lambda: ops.sum(ops.square(1.0 + model.one.kernel)), name="norm")
    with pytest.raises(ValueError, match=r"belongs to none of \['first', 'second'\].*\['norm'\]"):
        fit(model)
    with pytest.raises(ValueError, match="`compute_loss` is for models without `objectives`"):
        compiled().compute_loss(ONES)


# Kept


def test_a_saved_model_goes_on_with_the_state_of_each_optimizer(tmp_path):
    optimizers = {"first": "adam", "second": keras.optimizers.SGD(RATE, momentum=0.5)}
    model = compiled(optimizer=optimizers)
    fit(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", custom_objects={"Two": Two})
    assert isinstance(loaded.optimizer["second"], keras.optimizers.SGD)
    for each in (model, loaded):
        fit(each)
    variables = [[*m.weights, *m.optimizer.variables] for m in (model, loaded)]
    for one, other in zip(*variables, strict=True):
        np.testing.assert_array_equal(one, other)
    assert int(loaded.optimizer.iterations) == 6


def test_a_model_of_one_loss_is_the_case_of_one_objective():
    model = LossAwareModel()
    assert list(model.objectives()) == ["loss"]
    assert model.objectives()["loss"].losses == model.compute_losses
