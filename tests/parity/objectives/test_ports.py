"""Training steps that people write by hand, as objectives: the same weights and logs."""

from pathlib import Path

import keras
import numpy as np
import pytest

from tests.parity.objectives.by_hand import LEARNING_RATE
from tests.parity.objectives.cases import CASES

IN_EVERY_MODE = ("wgan_gp", "moco", "byol", "captioning")
PAGE = Path(__file__).parents[3] / "docs" / "migrating" / "keras_2.md"
ON_PAGE = {
    "dcgan": "GAN of Keras's guide",
    "conditional_gan": "conditional GAN",
    "wgan_gp": "WGAN-GP: the critic several times",
    "cyclegan": "CycleGAN: four networks from one pass",
    "gaugan": "GauGAN",
    "ada": "adaptive augmentation, a moving average",
    "simclr": "SimCLR with a linear probe",
    "moco": "MoCo: momentum encoder and queue",
    "byol": "BYOL",
    "nnclr": "NNCLR: nearest neighbours in a queue",
    "ddim": "DDIM, sampled from a moving average",
    "distilled": "distillation",
    "hinted": "distillation by hints",
    "mean_teacher": "mean teacher",
    "forward_forward": "forward-forward: an optimizer a layer",
    "sharp": "sharpness-aware minimization",
    "captioning": "captions: five updates a batch",
}
EPOCHS, BATCH = 2, 8
MODES = {
    "graph": {},
    "eager": {"run_eagerly": True},
    "4 steps": {"steps_per_execution": 4},
    "xla": {"jit_compile": True},
}


def trained(cls, compile_with, data, begin, **options):
    """A model after two epochs of batches of 8, 8 and 6 rows, and its history."""
    model = cls()
    model.set_weights(begin)
    compile_with(model, **options)
    keras.utils.set_random_seed(3)
    history = model.fit(*data, batch_size=BATCH, epochs=EPOCHS, shuffle=False, verbose=0).history
    return model, history


def by_hand(model, half=False, **options):
    def make():
        optimizer = keras.optimizers.Adam(LEARNING_RATE)
        return keras.optimizers.LossScaleOptimizer(optimizer) if half else optimizer

    model.compile(make, **options)


def ours(model, **options):
    model.compile(keras.optimizers.Adam(LEARNING_RATE), **options)


def require_same(case, half=False, exact=True, **options):
    keras.utils.set_random_seed(3)
    begin = case.ours().get_weights()
    hand, hand_logs = trained(
        case.by_hand, lambda m, **o: by_hand(m, half, **o), case.data, begin, **options
    )
    own, logs = trained(case.ours, ours, case.data, begin, **options)
    exact = exact and not case.sums_otherwise
    close = {"rtol": 0, "atol": 0} if exact else {"rtol": 1e-6, "atol": 1e-6}
    for weight, other in zip(own.weights, hand.weights, strict=True):
        np.testing.assert_allclose(weight.numpy(), other.numpy(), err_msg=weight.path, **close)
    for name in case.by_hand.logged:
        np.testing.assert_allclose(logs[name], hand_logs[name], rtol=2e-6, err_msg=name)
    return hand, own, logs


def test_a_port_ends_with_the_weights_and_logs_of_the_step_by_hand():
    require_same(CASES["moco"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "mode"),
    [
        (name, mode)
        for name in CASES
        for mode in MODES
        if name in IN_EVERY_MODE or mode == "graph"
    ],
)
def test_ports_in_every_mode(name, mode):
    require_same(CASES[name], exact=mode != "xla", **MODES[mode])


@pytest.mark.slow
@pytest.mark.parametrize("name", IN_EVERY_MODE)
def test_ports_in_float16(name):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        require_same(CASES[name], half=True, exact=False)
    finally:
        keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize("name", CASES)
def test_a_port_is_shorter_by_the_lines_that_the_readme_says(name):
    by_hand, own = CASES[name].lines
    assert own < by_hand
    assert f"| {ON_PAGE[name]} | {by_hand} | {own} |" in PAGE.read_text(encoding="utf-8")
