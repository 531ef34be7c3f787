"""Callbacks that act on the optimizer of one objective, and never on none."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_trainsteps import ForObjective
from tests.step.test_objectives import ONES, RATE, compiled, fit, unchanged, updates
from tests.toy import close, network, still


def rates(model):
    return [float(model.optimizer[name].learning_rate) for name in model.optimizer.names]


def halved():
    return keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)


class WarmUp(keras.callbacks.Callback):
    """A callback as people write them: from 0 to the rate, step by step."""

    def __init__(self, steps):
        super().__init__()
        self.steps, self.seen = steps, []

    def on_train_batch_begin(self, batch, logs=None):
        assert isinstance(self.model, keras.Model)
        share = min(1.0, float(self.model.optimizer.iterations) / self.steps)
        self.model.optimizer.learning_rate.assign(RATE * share)

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append(float(self.model(ONES, training=False)[0, 0]))
        self.model.stop_training = self.params["steps"] == 3 and batch == 1


@pytest.mark.parametrize("run_eagerly", [False, True], ids=["graph", "eager"])
def test_a_schedule_of_one_objective_is_that_of_its_optimizer_alone(run_eagerly):
    model = compiled(run_eagerly=run_eagerly)
    history = fit(model, epochs=2, callbacks=[ForObjective("second", halved())])
    assert rates(model) == [RATE, RATE / 4]
    assert (updates(model.one), updates(model.other)) == (6, 3 * (1 / 2 + 1 / 4))
    assert history["second_learning_rate"] == [RATE / 2, RATE / 4]
    assert "learning_rate" not in history


def test_each_objective_may_have_one():
    model = compiled(run_eagerly=True)
    slower = keras.callbacks.ReduceLROnPlateau(
        "val_first_term", mode="max", factor=0.5, patience=0, min_lr=0.0
    )
    callbacks = [ForObjective("first", slower), ForObjective("second", halved())]
    history = fit(model, epochs=3, callbacks=callbacks, validation_data=(ONES,))
    assert history["first_learning_rate"] == [RATE, RATE, RATE / 2]  # of which the epoch was
    assert history["second_learning_rate"] == [RATE / 2, RATE / 4, RATE / 8]
    assert rates(model) == [RATE / 4, RATE / 8]


def test_averages_of_the_weights_of_one_are_those_that_are_evaluated():
    averaged = keras.optimizers.SGD(RATE, use_ema=True, ema_momentum=0.5)
    model = compiled(optimizer={"first": averaged, "second": keras.optimizers.SGD(RATE)})
    callbacks = [ForObjective("first", keras.callbacks.SwapEMAWeights())]
    history = fit(model, epochs=2, callbacks=callbacks, validation_data=(ONES,))
    weights = -RATE * np.arange(7)
    averages = [0.0, weights[1]]  # Keras begins with the first update
    for weight in weights[2:]:
        averages.append(0.5 * averages[-1] + 0.5 * weight)
    assert history["val_first_term"] == close([averages[3], averages[6]])
    assert history["val_second_term"] == [weights[3], weights[6]]
    assert history["first"][1] == close(np.average(weights[3:6], weights=[4, 4, 2]))
    # As with one optimizer, training ends with its averages.
    assert float(model.one.kernel[0, 0]) == close(averages[6])
    assert updates(model.other) == 6
    logs = model.evaluate(ONES, verbose=0, callbacks=callbacks, return_dict=True)
    assert logs["first"] == close(averages[6])


def test_a_board_shows_the_rate_of_one(tmp_path):
    model = compiled(run_eagerly=True)
    board = ForObjective("second", keras.callbacks.TensorBoard(tmp_path, write_graph=False))
    fit(model, callbacks=[ForObjective("second", halved()), board])
    found = {
        value.tag: float(tf.make_ndarray(value.tensor))
        for path in (tmp_path / "train").iterdir()
        for event in tf.compat.v1.train.summary_iterator(str(path))
        for value in event.summary.value
    }
    assert found["epoch_learning_rate"] == RATE / 2
    assert {"epoch_first", "epoch_second_term"} <= set(found)


def test_a_callback_of_ones_own_sees_the_model_with_that_optimizer():
    class Called(type(compiled())):
        def call(self, x):
            return self.other(x)

    model = compiled(Called, run_eagerly=True)
    warm = WarmUp(2)
    fit(model, epochs=3, callbacks=[ForObjective("second", warm)])
    assert warm.seen == [0.0, -RATE / 2]
    assert (updates(model.one), updates(model.other)) == (2, 1 / 2)
    assert rates(model) == [RATE, RATE / 2]


def test_what_uses_the_optimizer_of_all_is_refused_with_the_way_out():
    model = compiled(run_eagerly=True)
    with pytest.raises(ValueError, match=r"fit with `ForObjective\('first', callback\)`"):
        fit(model, callbacks=[WarmUp(2)])
    assert unchanged(model)
    message = r"`SwapEMAWeights` acts on one.*`ForObjective\('first', SwapEMAWeights\(...\)\)`"
    for run in (model.evaluate, model.predict):
        with pytest.raises(ValueError, match=message):
            run(ONES, verbose=0, callbacks=[keras.callbacks.SwapEMAWeights()])


@pytest.mark.parametrize("name", ["momentum", "clipnorm", "loss_scale_factor", "mine"])
def test_an_option_is_never_set_in_none_of_them(name):
    model = compiled()
    with pytest.raises(ValueError, match=rf"`{name}` must be that of one optimizer"):
        setattr(model.optimizer, name, 0.5)
    setattr(model.optimizer["first"], name, 0.5)
    if name in ("momentum", "mine"):
        assert not hasattr(model.optimizer, name)
        with pytest.raises(AttributeError, match=rf"`{name}` must be that of one optimizer"):
            getattr(model.optimizer, name)


def test_a_name_that_is_none_is_refused():
    model = compiled()
    with pytest.raises(ValueError, match=r"Received: 'third' for a model with \['first', 'seco"):
        fit(model, callbacks=[ForObjective("third", halved())])
    assert unchanged(model)
    whole = still(network(), loss="mse")
    with pytest.raises(ValueError, match=r"Received: 'loss'.*Give it the callback as it is"):
        whole.fit(ONES, ONES, callbacks=[ForObjective("loss", halved())])
    with pytest.raises(TypeError, match=r"`callback` must be a `keras.callbacks.Callback`"):
        ForObjective("first", [halved()])


@pytest.mark.slow
def test_rates_of_optimizers_that_scale_losses():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = compiled()
        fit(model, epochs=2, callbacks=[ForObjective("second", halved())])
    finally:
        keras.config.set_dtype_policy("float32")
    assert rates(model) == [RATE, RATE / 4]
