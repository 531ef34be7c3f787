"""A job of several objectives goes on to the bit: optimizers, average, queue, random draws."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_trainsteps import Ema, LossAwareModel, Objective, Queue, losses
from keras_trainsteps.rolling import (
    ResumableJob,
    resumable_batches,
    save_for_training,
    warm_start,
)
from tests.parity.objectives.by_hand import dense

X = np.random.default_rng(0).normal(size=(22, 4)).astype("float32")
EPOCHS, STEPS = 3, 3


class Rows(LossAwareModel):
    """A generator and its average, a critic with a penalty now and then, what was made lately."""

    after_step = (
        Ema("generator", into="average", momentum=0.9),
        Queue("made", size=9, shape=(4,)),
    )

    def __init__(self, **options):
        super().__init__(**options)
        self.generator, self.average, self.critic = dense(3, 6, 4), dense(3, 6, 4), dense(4, 6, 1)
        self.noise = keras.random.SeedGenerator(5)

    def objectives(self):
        return {
            "critic": Objective(self.criticize, trains=self.critic, repeat=2),
            "slope": Objective(self.slope, trains=self.critic, after="critic", every=2),
            "generator": Objective(self.fool, trains=self.generator),
        }

    def fake(self, x):
        return self.generator(keras.random.normal((ops.shape(x)[0], 3), seed=self.noise))

    def criticize(self, x):
        earlier = ops.mean(self.critic(self.made))
        return {"apart": ops.mean(self.critic(self.fake(x))) + earlier - ops.mean(self.critic(x))}

    def slope(self, x):
        return {"r1": 0.1 * losses.gradient_penalty(self.critic, x)}

    def fool(self, x):
        fake = self.fake(x)
        self.pass_on("made", fake)
        return {"fooled": -ops.mean(self.critic(fake))}


class Crash(Exception):
    pass


class CrashAfter(keras.callbacks.Callback):
    """Ends a job in the middle of an epoch."""

    def __init__(self, steps):
        super().__init__()
        self.steps = steps

    def get_state(self):
        return {}

    def set_state(self, state):
        pass

    def on_train_batch_end(self, batch, logs=None):
        self.steps -= 1
        if self.steps == 0:
            raise Crash


def built(rate=0.01):
    keras.utils.set_random_seed(1)
    model = Rows()
    critic = keras.optimizers.Adam(rate)  # of one state: `slope` trains the same
    model.compile({"critic": critic, "slope": critic, "generator": keras.optimizers.SGD(rate)})
    return model


def run(model, directory, crash_after=-1):
    batches = resumable_batches(X, batch_size=8, seed=1)
    job = ResumableJob(directory, run_id="gan", save_freq=1, stateless=[CrashAfter])
    history = job.fit(
        model, batches, epochs=EPOCHS, verbose=0, callbacks=[CrashAfter(crash_after)]
    )
    return history.history


def state_of(model):
    variables = [*model.weights, *model.optimizer.variables, model.noise.state]
    return [np.asarray(variable) for variable in variables]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    model = built()
    return run(model, tmp_path_factory.mktemp("whole")), state_of(model)


@pytest.mark.parametrize("steps", [5, pytest.param(2, marks=pytest.mark.slow)])
def test_a_killed_job_goes_on_to_the_bit(whole, tmp_path, steps):
    history, state = whole
    with pytest.raises(Crash):
        run(built(), tmp_path, crash_after=steps)
    resumed = built()
    resumed.set_weights([np.zeros_like(weight) for weight in resumed.get_weights()])
    logs = run(resumed, tmp_path)
    for variable, other in zip(state_of(resumed), state, strict=True):
        np.testing.assert_array_equal(variable, other)
    np.testing.assert_equal(logs, history)
    assert int(resumed.optimizer.iterations) == EPOCHS * STEPS
    assert int(resumed.optimizer["critic"].iterations) == EPOCHS * STEPS * 2 + 5
    assert int(resumed.optimizer["generator"].iterations) == EPOCHS * STEPS


def test_another_optimizer_of_one_objective_is_another_job(whole, tmp_path):
    with pytest.raises(Crash):
        run(built(), tmp_path, crash_after=2)
    with pytest.raises(ValueError, match=r"of_critic.*learning_rate"):
        run(built(rate=0.02), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["carry", "reset"])
def test_a_warm_start_takes_the_state_of_each_optimizer_by_name(tmp_path, policy):
    source = built()
    source.fit(X, batch_size=8, verbose=0)
    save_for_training(source, tmp_path / "saved")
    target = built(rate=0.02)
    report = warm_start(target, tmp_path / "saved", optimizer=policy)
    assert "optimizer/of_critic/*" in str(report)
    carried = policy == "carry"
    assert int(target.optimizer["critic"].iterations) == (8 if carried else 0)
    assert int(target.optimizer.iterations) == (3 if carried else 0)
    assert float(target.optimizer["critic"].learning_rate) == pytest.approx(0.02)  # of the code
    for weight, other in zip(target.weights, source.weights, strict=True):
        np.testing.assert_array_equal(weight, other)


def test_a_warm_start_may_take_the_saved_rates():
    source, target = built(), built(rate=0.02)
    source.fit(X, batch_size=8, verbose=0)
    warm_start(target, source, optimizer="carry", learning_rate="saved")
    for name in target.optimizer.names:
        assert float(target.optimizer[name].learning_rate) == pytest.approx(0.01)
