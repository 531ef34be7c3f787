"""The state of an optimizer is carried whole, or begins anew."""

import keras
import numpy as np
import pytest

from keras_trainsteps.rolling import VocabularyMap, save_for_training, warm_start
from keras_trainsteps.rolling.artifacts.model_state import state_of as copy_of
from tests.rolling.models import ranker, ranking_data, state_of
from tests.rolling.warm_start.starts import (
    OPTIMIZERS,
    compiled,
    refused,
    shop,
    values,
)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_is_carried_whole_or_reset_whole(tmp_path, name):
    source = compiled(ranker(), OPTIMIZERS[name]())
    source.optimizer.variables[0].assign(12)
    save_for_training(source, tmp_path / "s")
    model = compiled(ranker(), OPTIMIZERS[name](), seed=1)
    warm_start(model, tmp_path / "s", optimizer="carry", learning_rate="saved")
    assert state_of(model) == state_of(source)
    report = warm_start(model, tmp_path / "s")
    fresh = ranker()
    fresh.compile(OPTIMIZERS[name]())
    fresh.optimizer.build(fresh.trainable_variables)
    begun = [keras.ops.convert_to_numpy(v) for v in fresh.optimizer.variables]
    for value, variable in zip(begun, model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(value, variable)
    assert not [path for path in report.loaded if path.startswith("optimizer/")]


SITUATIONS = {
    "the same": {},
    "frozen here": {"frozen": (False, True)},
    "frozen there": {"frozen": (True, False)},
    "schedule here": {"scheduled": (False, True)},
    "schedule there": {"scheduled": (True, False)},
    "averaged here": {"use_ema": (False, True)},
    "averaged there": {"use_ema": (True, False)},
    "accumulated here": {"gradient_accumulation_steps": (None, 2)},
    "scaled here": {"scaled": (False, True)},
    "scaled there": {"scaled": (True, False)},
    "grown table": {"tokens": ("abc", "dcba")},
}


def situated(kind, side, choices, seed):
    chosen = {name: values[side] for name, values in choices.items()}
    rate = keras.optimizers.schedules.CosineDecay(0.1, 100) if chosen.get("scheduled") else 0.1
    options = {k: chosen[k] for k in ("use_ema", "gradient_accumulation_steps") if chosen.get(k)}
    if kind is keras.optimizers.SGD:
        options["momentum"] = 0.9  # without it there is nothing to carry
    optimizer = kind(rate, **options)
    if chosen.get("scaled"):
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    model = shop(chosen.get("tokens", "abc"), optimizer="sgd", seed=seed)
    model.get_layer("score").trainable = not chosen.get("frozen", False)
    return compiled(model, optimizer, seed)


CLASSES = ["SGD", "RMSprop", "Adam", "AdamW", "Adadelta", "Adagrad", "Adamax", "Adafactor"]
CLASSES += ["Nadam", "Ftrl", "Lion", "Lamb", "Muon", "ScheduleFreeAdamW"]


def fits(name):
    """The situations in which an optimizer can be carried."""
    factored = name == "Adafactor"  # its slots are no rows of the table
    return ("the same",) if factored else ("the same", "grown table")


@pytest.mark.slow
@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("name", CLASSES)
def test_the_state_of_an_optimizer_is_never_taken_in_part(name, situation):
    kind, choices = getattr(keras.optimizers, name), SITUATIONS[situation]
    source = situated(kind, 0, choices, 0)
    vocabularies = {"table": "lookup"} if "tokens" in choices else {}
    saved = copy_of(source).optimizer
    for policy in ("reset", "carry"):
        model = situated(kind, 1, choices, 1)
        before = state_of(model)
        if policy == "carry" and situation not in fits(name):
            with pytest.raises(ValueError, match="optimizer"):
                warm_start(model, source, optimizer=policy, vocabularies=vocabularies)
            assert state_of(model) == before
            continue
        warm_start(model, source, optimizer=policy, vocabularies=vocabularies)
        found = copy_of(model).optimizer
        fresh = copy_of(begun(situated(kind, 1, choices, 1))).optimizer
        for key, slot in found.slots.items():
            if policy == "reset":
                np.testing.assert_array_equal(slot, fresh.slots[key])
            elif key[1] != "table/embeddings" or not vocabularies:
                np.testing.assert_array_equal(slot, saved.slots[key])
            else:
                rows = VocabularyMap(old=["[UNK]", *"abc"], new=["[UNK]", *"dcba"]).rows()
                for row, old in enumerate(rows if slot.ndim else ()):
                    expected = fresh.slots[key][row] if old < 0 else saved.slots[key][old]
                    np.testing.assert_array_equal(slot[row], expected)


def begun(model):
    """The model with an optimizer that has not done anything."""
    optimizer = model.optimizer
    model.optimizer = type(optimizer).from_config(optimizer.get_config())
    model.optimizer.build(model.trainable_variables)
    return model


def test_an_unbuilt_optimizer_is_built_only_when_all_is_well():
    source, model = compiled(ranker()), ranker()
    model.compile("adam")
    refused(model, compiled(ranker(), "sgd"), "optimizer: SGD", optimizer="carry")
    assert not model.optimizer.built
    warm_start(model, source, optimizer="carry", learning_rate="saved")
    assert state_of(model) == state_of(source)


def test_slots_of_another_optimizer_are_refused():
    source = compiled(ranker(), OPTIMIZERS["adagrad"]())
    for other in (OPTIMIZERS["sgd"](), "rmsprop"):
        model = compiled(ranker(), other, seed=1)
        refused(model, source, "optimizer: Adagrad in the source", optimizer="carry")
    model = compiled(ranker(), keras.optimizers.Adagrad(0.1, epsilon=1.0), seed=1)
    refused(model, source, "epsilon is 1e-07 in the source, 1.0", optimizer="carry")
    uncompiled = ranker()
    refused(uncompiled, source, "'carry' needs a compiled model", optimizer="carry")
    refused(model, uncompiled, "no optimizer state", optimizer="carry")


def test_the_codes_learning_rate_counts():
    source = compiled(ranker(), keras.optimizers.Adagrad(0.1))
    for policy in ("reset", "carry"):
        model = compiled(ranker(), keras.optimizers.Adagrad(0.001), seed=1)
        warm_start(model, source, optimizer=policy)
        assert float(model.optimizer.learning_rate) == np.float32(0.001)
        warm_start(model, source, optimizer=policy, learning_rate="saved")
        assert float(model.optimizer.learning_rate) == np.float32(0.1)


def decay(steps=100):
    return keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.1, steps))


def test_a_finished_schedule_is_refused_and_begins_anew_by_default():
    source = compiled(ranker(), decay())
    source.optimizer.iterations.assign(100)
    model = compiled(ranker(), decay(), seed=1)
    refused(model, source, "is finished at the saved step 100", optimizer="carry")
    warm_start(model, source)
    assert int(model.optimizer.iterations) == 0
    x, y = ranking_data()
    before = values(model)
    model.fit(x, y, batch_size=40, verbose=0)
    assert np.any(before["hidden/kernel"] != values(model)["hidden/kernel"])
    source.optimizer.iterations.assign(99)
    warm_start(model, source, optimizer="carry")
    assert int(model.optimizer.iterations) == 99


def test_schedule_and_constant_rate_do_not_mix():
    constant, scheduled = compiled(ranker()), compiled(ranker(), decay(), seed=1)
    refused(scheduled, constant, "a constant rate in the source", optimizer="carry")
    refused(constant, scheduled, "a schedule in the source", optimizer="carry")
    refused(scheduled, constant, "needs a constant rate in both", learning_rate="saved")


def test_a_frozen_layer_refuses_carry():
    def build(frozen):
        model = ranker()
        model.get_layer("hidden").trainable = not frozen
        return compiled(model)

    refused(build(True), build(False), "is its weight frozen there", optimizer="carry")
    refused(build(False), build(True), "was its weight frozen there", optimizer="carry")
    warm_start(build(True), build(False))
