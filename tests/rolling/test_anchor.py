"""L2-SP: its value and gradient, and that nothing of it is saved."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_trainsteps.rolling import (
    L2SP,
    export_serving,
    load_for_inference,
    save_for_inference,
    save_for_training,
    warm_start,
)
from keras_trainsteps.rolling.model_state import read_state
from tests.rolling.models import Ranker, ranker, ranking_data


class Anchored(Ranker):
    """As `Ranker`, held near where it started."""

    def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
        terms = super().compute_losses(x, y, y_pred, sample_weight, training)
        return {**terms, "anchor": self.anchor()}


def anchored(alpha=0.5, **options):
    plain = ranker(dropout=0.1)
    model = Anchored(plain.input, plain.output)
    model.log_scale = model.add_weight(name="log_scale", shape=(), initializer="zeros")
    model.compile("adam")
    model.anchor = L2SP(model, alpha=alpha, **options)
    return model


def value_and_gradients(model):
    with tf.GradientTape() as tape:
        value = model.anchor()
    weights = [w.value for w in model.trainable_weights]
    return float(value), tape.gradient(value, weights)


def test_it_is_exactly_nothing_at_first():
    model = anchored()
    value, gradients = value_and_gradients(model)
    assert value == 0
    for weight, gradient in zip(model.trainable_weights, gradients, strict=True):
        if weight is model.log_scale:
            assert gradient is None  # the coefficient of the loss is free
        else:
            assert not np.any(gradient)


def test_value_and_gradient_against_plain_loops():
    model = anchored(alpha=0.3, exclude=["head/bias"])
    before = [np.array(w, "float64") for w in model.trainable_weights]
    generator = np.random.default_rng(1)
    for weight in model.trainable_weights:
        weight.assign_add(generator.normal(size=weight.shape))
    expected = 0.0
    held = ("kernel", "hidden/bias")
    for weight, start in zip(model.trainable_weights, before, strict=True):
        if weight.path.endswith(held):
            for now, then in zip(np.array(weight, "float64").flat, start.flat, strict=True):
                expected += 0.3 / 2 * (now - then) ** 2
    value, gradients = value_and_gradients(model)
    assert value == pytest.approx(expected, rel=1e-6)
    for weight, start, gradient in zip(model.trainable_weights, before, gradients, strict=True):
        if weight.path.endswith(held):
            np.testing.assert_allclose(gradient, 0.3 * (weight - start), rtol=1e-5, atol=1e-7)
        else:
            assert gradient is None


def test_a_stronger_anchor_holds_the_weights_nearer():
    x, y = ranking_data()
    moved = {}
    for alpha in (0.0, 10.0):
        keras.utils.set_random_seed(3)
        model = anchored(alpha)
        model.compile(keras.optimizers.SGD(0.1))
        start = model.get_layer("hidden").kernel.numpy()
        history = model.fit(x, y, epochs=4, batch_size=40, verbose=0).history
        assert history["anchor"][0] == 0  # logged before the first step
        moved[alpha] = np.linalg.norm(model.get_layer("hidden").kernel.numpy() - start)
    assert moved[10.0] < 0.5 * moved[0.0]


def test_nothing_of_it_is_saved_or_exported(tmp_path):
    model, plain = anchored(), ranker(dropout=0.1)
    assert len(model.variables) == len(plain.variables)
    save_for_inference(model, tmp_path / "scorer")
    loaded = load_for_inference(tmp_path / "scorer")
    assert len(loaded.variables) == len(plain.variables) - 1  # without the coefficient
    save_for_training(model, tmp_path / "training")
    assert set(read_state(tmp_path / "training").weights) == {
        *(f"{layer}/{part}" for layer in ("hidden", "head") for part in ("kernel", "bias")),
        "log_scale",
    }
    served = export_serving(model, tmp_path / "served")["saved_model"]
    names = {variable.name for variable in tf.saved_model.load(served).variables}
    assert not any("anchor" in name or "start" in name for name in names)
    report = warm_start(plain, tmp_path / "training")
    assert len(report.loaded) == 5


@pytest.mark.parametrize("alpha", [-1.0, float("nan"), float("inf")])
def test_bad_strengths_are_refused(alpha):
    with pytest.raises(ValueError, match="`alpha` must be a number, not negative"):
        L2SP(ranker(), alpha=alpha)


def test_names_of_nothing_are_refused():
    with pytest.raises(ValueError, match="must name trainable weights of the network"):
        L2SP(ranker(), alpha=1.0, exclude=["log_scale"])
