"""Losses that were added to a model, with trained coefficients: started, saved, served."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_trainsteps.penalties import (
    L2SP,
    TrainableCoefficient,
    WeightPenalty,
    sum_of_norms,
)
from keras_trainsteps.rolling import (
    export_serving,
    fingerprint,
    load_for_inference,
    save_for_inference,
    save_for_training,
    warm_start,
)
from tests.rolling.models import ranker, ranking_data, state_of


def penalized(name="norms", initial=0.5):
    """A ranker with a coefficient of its own and one of an added penalty."""
    model = ranker()
    coefficient = TrainableCoefficient(initial, bounds=(0.1, 2.0))
    penalty = WeightPenalty(sum_of_norms, weights=["*/kernel"], coefficient=coefficient)
    model.add_loss(penalty, name=name)
    model.compile(keras.optimizers.Adam(0.01))
    return model


def coefficient_of(model):
    return next(w for w in model.weights if w.name.endswith("_coefficient"))


@pytest.fixture(scope="module")
def trained():
    keras.utils.set_random_seed(3)
    model = penalized()
    x, y = ranking_data()
    model.fit(x, y, batch_size=20, shuffle=False, verbose=0)  # whole queries
    assert float(coefficient_of(model)) != 0.5
    return model


@pytest.mark.parametrize("from_disk", [True, False])
def test_a_coefficient_is_carried_by_its_name(tmp_path, trained, from_disk):
    if from_disk:
        save_for_training(trained, tmp_path / "state")
    model = penalized(initial=0.7)
    source = tmp_path / "state" if from_disk else trained
    report = warm_start(model, source, optimizer="carry")
    assert "added_terms/norms_coefficient" in report.loaded
    assert float(coefficient_of(model)) == float(coefficient_of(trained))
    assert state_of(model) == state_of(trained)  # with the optimizer's slots


def test_a_renamed_or_removed_coefficient_is_refused(trained):
    for model in (penalized("other"), ranker()):
        before = state_of(model)
        with pytest.raises(ValueError, match=r"added_terms/norms_coefficient: a weight of the"):
            warm_start(model, trained)
        assert state_of(model) == before
    model = penalized("other")
    old, new = (f"added_terms/{name}_coefficient" for name in ("norms", "other"))
    warm_start(model, trained, rename={old: new})
    assert float(coefficient_of(model)) == float(coefficient_of(trained))
    report = warm_start(ranker(), trained, allow_unused=["added_terms"])
    assert report.dropped


def test_what_is_served_holds_no_coefficient(tmp_path, trained):
    save_for_inference(trained, tmp_path / "scorer")
    loaded = load_for_inference(tmp_path / "scorer")
    assert [w.path for w in loaded.weights] == [
        f"{layer}/{part}" for layer in ("hidden", "head") for part in ("kernel", "bias")
    ]
    x, _ = ranking_data()
    expected = trained.predict(x, verbose=0)
    np.testing.assert_array_equal(loaded.predict(x["features"], verbose=0), expected)
    served = export_serving(trained, tmp_path / "served")["saved_model"]
    assert len(tf.saved_model.load(served).variables) == 4
    plain = ranker()
    warm_start(plain, trained, allow_unused=["added_terms"])
    assert fingerprint(plain) == fingerprint(trained)


def anchored():
    model = ranker()
    model.add_loss(L2SP(weights=["*/kernel"], coefficient=10.0), name="anchor")
    model.compile(keras.optimizers.SGD(0.05))
    return model


@pytest.mark.slow
def test_an_anchor_is_exactly_nothing_after_a_warm_start(tmp_path, trained):
    x, y = ranking_data()
    model, free = anchored(), ranker()
    free.compile(keras.optimizers.SGD(0.05))
    for each in (model, free):
        warm_start(each, trained, allow_unused=["added_terms"])
    start = [w.numpy() for w in model.weights if w.name == "kernel"]
    with tf.GradientTape() as tape:
        (value,) = model.losses
    held = [w.value for w in model.weights if w.name == "kernel"]
    assert float(value) == 0
    assert all(not np.any(gradient) for gradient in tape.gradient(value, held))
    for each in (model, free):
        each.fit(x, y, batch_size=40, verbose=0)  # one step: the anchor changes nothing yet
    assert state_of(model) == state_of(free)
    for each in (model, free):
        each.fit(x, y, batch_size=40, epochs=3, verbose=0)
    moved = [
        sum(
            np.sum((w.numpy() - s) ** 2)
            for w, s in zip([w for w in each.weights if w.name == "kernel"], start, strict=True)
        )
        for each in (model, free)
    ]
    assert moved[0] < 0.8 * moved[1]
    assert len(model.variables) == len(free.variables)
    save_for_inference(model, tmp_path / "scorer")
    assert len(load_for_inference(tmp_path / "scorer").variables) == 4
