"""A job that sums gradients up goes on to the bit, also from within a group of steps."""

import functools

import keras
import numpy as np
import pytest
from keras import ops

from keras_trainsteps import LossAwareModel, LossTerm
from keras_trainsteps.rolling import ResumableJob, resumable_batches
from keras_trainsteps.rolling.resume.variables import job_variables
from tests.rolling.resume.crashes import At, Crash, crash

RNG = np.random.default_rng(0)
X = RNG.normal(size=(22, 3)).astype("float32")
Y = RNG.normal(size=(22, 1)).astype("float32")
EPOCHS, K = 3, 4  # of six steps: a group of four, and one of two


class Positive(LossAwareModel):
    """Terms of two counts."""

    def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
        kept = ops.cast(y > 0, "float32")
        return {
            "kept": LossTerm(ops.sum(kept * ops.square(y_pred - y)), ops.sum(kept)),
            "rows": ops.abs(y_pred - y),
        }


def built(run_eagerly, accumulate_steps=K):
    keras.utils.set_random_seed(1)
    inputs = keras.Input((3,))
    hidden = keras.layers.Dropout(0.3)(keras.layers.Dense(5, "tanh")(inputs))
    model = Positive(inputs, keras.layers.Dense(1)(hidden))
    options = {"accumulate_steps": accumulate_steps, "run_eagerly": run_eagerly}
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), **options)
    return model


def run(model, directory, crash_after=1000):
    batches = resumable_batches(X, Y, batch_size=4, seed=1)
    job = ResumableJob(directory, run_id="sums", save_freq=1, stateless=[At])
    callbacks = [At("batch_end", crash_after - 1, crash)]
    return job.fit(model, batches, epochs=EPOCHS, verbose=0, callbacks=callbacks).history


def state_of(model):
    variables = [*model.weights, *model.optimizer.variables]
    return [np.asarray(variable) for variable in variables]


def test_sums_are_state_of_a_job():
    """Two counts, and the gradients of four weights with each."""
    model = built(True)
    model.train_on_batch(X[:4], Y[:4])
    names = [n for n in job_variables(model, {}, metrics=True) if n.startswith("accumulated|")]
    assert len(names) == 2 + 2 * 4


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What a job left alone ends with, in a graph or eagerly."""

    @functools.cache
    def ended(run_eagerly):
        model = built(run_eagerly)
        return run(model, tmp_path_factory.mktemp("whole")), state_of(model)

    return ended


# Saved last within the first group, the short one, at the end of an epoch.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("steps", "run_eagerly"), [(4, True), *((steps, False) for steps in (2, 4, 6, 7, 12))]
)
def test_a_killed_job_goes_on_to_the_bit(whole, tmp_path, steps, run_eagerly):
    history, state = whole(run_eagerly)
    with pytest.raises(Crash):
        run(built(run_eagerly), tmp_path, crash_after=steps)
    resumed = built(run_eagerly)
    resumed.set_weights([np.zeros_like(weight) for weight in resumed.get_weights()])
    logs = run(resumed, tmp_path)
    for variable, other in zip(state_of(resumed), state, strict=True):
        np.testing.assert_array_equal(variable, other)
    np.testing.assert_equal(logs, history)
    assert int(resumed.optimizer.iterations) == EPOCHS * 2


@pytest.mark.slow
def test_a_job_goes_on_with_groups_of_the_same_size(tmp_path):
    with pytest.raises(Crash):
        run(built(True), tmp_path, crash_after=2)
    with pytest.raises(ValueError, match="'accumulate_steps' is 2, was 4"):
        run(built(True, 2), tmp_path)
