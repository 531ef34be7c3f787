"""What follows a step: averages of weights, queues of rows, functions."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_trainsteps import Ema, LossAwareModel, Objective, Queue
from tests.toy import close

ROWS = np.arange(20, dtype="float32").reshape(10, 2)
RATE = 0.125
MODES = pytest.mark.parametrize("run_eagerly", [False, True], ids=["graph", "eager"])
# An eager step is traced before the first: what is refused there is refused in a graph, too.
REFUSED = pytest.mark.parametrize(
    "run_eagerly", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["eager", "graph"]
)


def linear(width=1, **options):
    layer = keras.layers.Dense(width, use_bias=False, kernel_initializer="zeros", **options)
    layer.build((None, 2))
    return layer


class Followed(LossAwareModel):
    """A network whose weights go down by RATE in each step, and one that may follow it."""

    trains: str | tuple[str, ...] | None = "network"

    def __init__(self, **options):
        super().__init__(**options)
        self.network, self.average = linear(), linear()

    def call(self, x):
        return self.network(x)

    def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
        self.pass_on("rows", x)
        return {"down": ops.mean(self.network(ops.ones_like(x)))}


def following(*rules, base=Followed, **members):
    return type("Of", (base,), {"after_step": rules, **members})


def fitted(cls, epochs=1, run_eagerly=False, **options):
    model = cls()
    model.compile(keras.optimizers.SGD(RATE), run_eagerly=run_eagerly)
    model.fit(ROWS, batch_size=4, shuffle=False, epochs=epochs, verbose=0, **options)
    return model


def first(network):
    return float(network.kernel[0, 0])


def averaged(momenta):
    """The average after a step with each of these, of weights that go down by RATE."""
    average, weight = 0.0, 0.0
    for momentum in momenta:
        weight -= RATE
        average = momentum * average + (1 - momentum) * weight
    return average


@MODES
def test_an_average_follows_once_a_step(run_eagerly):
    model = fitted(following(Ema("network", into="average", momentum=0.75)), 2, run_eagerly)
    assert first(model.network) == -6 * RATE
    assert first(model.average) == close(averaged([0.75] * 6))


def test_the_momentum_may_be_a_variable_or_a_schedule():
    variable = keras.Variable(0.5, trainable=False)
    model = fitted(following(Ema("network", into="average", momentum=variable)))
    assert first(model.average) == close(averaged([0.5] * 3))
    steps = keras.optimizers.schedules.PiecewiseConstantDecay([0, 1], [0.0, 0.5, 0.75])
    model = fitted(following(Ema("network", into="average", momentum=steps)), epochs=2)
    assert first(model.average) == close(averaged([0.0, 0.5, 0.75, 0.75, 0.75, 0.75]))


def test_what_follows_is_not_trained_though_the_hook_calls_it():
    def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
        return {"apart": ops.mean(self.network(ops.ones_like(x)) + self.average(x))}

    rule = Ema("network", into="average", momentum=1.0)
    model = fitted(
        following(rule, compute_losses=compute_losses, trains=None)
    )  # no warning of a teacher
    assert first(model.network) == -3 * RATE
    assert first(model.average) == 0.0
    assert len(model.optimizer.variables) == 2


def test_statistics_follow_too():
    class Normed(Followed):
        after_step = (Ema("norm", into="slow_norm", momentum=0.5),)

        def __init__(self):
            super().__init__()
            self.norm, self.slow_norm = (keras.layers.BatchNormalization() for _ in range(2))
            for layer in (self.norm, self.slow_norm):
                layer.build((None, 2))

        def call(self, x):
            return self.network(self.norm(x))

    model = Normed()
    model.compile(keras.optimizers.SGD(0.0))
    model.fit(ROWS, batch_size=10, verbose=0)
    wanted = 0.5 * model.norm.moving_mean.numpy()
    assert np.any(wanted)
    np.testing.assert_allclose(model.slow_norm.moving_mean.numpy(), wanted)


@MODES
def test_a_queue_holds_the_newest_rows_first(run_eagerly):
    model = fitted(following(Queue("known", of="rows", size=7, shape=(2,))), 1, run_eagerly)
    np.testing.assert_array_equal(model.known.numpy(), ROWS[[8, 9, 4, 5, 6, 7, 0]])
    assert any(weight is model.known for weight in model.non_trainable_weights)
    model.evaluate(ROWS, verbose=0)
    np.testing.assert_array_equal(model.known.numpy(), ROWS[[8, 9, 4, 5, 6, 7, 0]])


def test_a_queue_begins_with_random_rows_of_length_1():
    model = following(Queue("known", of="rows", size=5, shape=(2, 3)))()
    assert model.known.shape == (5, 2, 3)
    lengths = np.sqrt(np.sum(model.known.numpy() ** 2, axis=(1, 2)))
    assert list(lengths) == close([1.0] * 5)


def test_a_queue_may_be_a_weight_of_the_model():
    class Own(Followed):
        after_step = (Queue("known", of="rows", size=2),)

        def __init__(self):
            super().__init__()
            self.known = self.add_weight(shape=(2, 2), initializer="zeros", trainable=False)

    np.testing.assert_array_equal(fitted(Own).known.numpy(), ROWS[[8, 9]])


@MODES
def test_a_function_gets_what_was_passed_on(run_eagerly):
    class Counting(Followed):
        def __init__(self):
            super().__init__()
            self.sum = self.add_weight(shape=(), initializer="zeros", trainable=False)

        def count(self, rows):
            self.sum.assign_add(ops.sum(rows))

        after_step = (count,)

    assert float(fitted(Counting, 2, run_eagerly).sum) == 2 * ROWS.sum()


def test_the_state_is_saved_with_the_model(tmp_path):
    cls = following(
        Ema("network", into="average", momentum=0.75),
        Queue("known", of="rows", size=7, shape=(2,)),
    )
    model = fitted(cls)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", custom_objects={"Of": cls})
    for weight, other in zip(loaded.weights, model.weights, strict=True):
        np.testing.assert_array_equal(weight, other)
    assert len(loaded.weights) == 3


# Refused before anything is changed


class Wider(Followed):
    def __init__(self):
        super().__init__()
        self.average = linear(2)


class InBranch(Followed):
    after_step = (Queue("known", of="rows", size=2, shape=(2,)),)

    def objectives(self):
        return {"seldom": Objective(self.compute_losses, trains="network", every=2)}

    trains = None


def by_name(name):
    return Ema("network", into=name)


@REFUSED
@pytest.mark.parametrize(
    ("cls", "message"),
    [
        (following(by_name("average"), base=Wider), r"`into` of `Ema`.*\(2, 2\)\], where these"),
        (following(by_name("network")), "another network than the one that it follows"),
        (following(by_name("averages")), "must name attributes.*'averages'"),
        (following(by_name("average"), trains=("network", "average")), "of which `Ema` sets"),
        (following(Queue("known", of="rows", size=7)), "`known` must be a weight of 7 rows"),
        (
            following(Queue("known", of="rows", size=7, shape=(3,))),
            r"`rows` must have rows as.*2\) for rows of shape \(3,\)",
        ),
        (
            following(Queue("known", of="keys", size=7, shape=(2,))),
            r"in every step\. Received: nothing under 'keys'.*\['rows'\]",
        ),
        (following(3), "`after_step` must hold"),
        (InBranch, "`pass_on` must be called in every step"),
    ],
)
def test_what_cannot_follow_is_refused_before_any_update(cls, message, run_eagerly):
    model = cls()
    model.compile(keras.optimizers.SGD(RATE), run_eagerly=run_eagerly)
    with pytest.raises((TypeError, ValueError), match=message):
        model.fit(ROWS, batch_size=4, verbose=0)
    assert first(model.network) == 0.0


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="`momentum` must be from 0 to 1"):
        Ema("network", into="average", momentum=1.5)
    with pytest.raises(ValueError, match="`size` must be an integer of at least 1"):
        Queue("known", size=0)
