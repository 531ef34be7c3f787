"""Rows and slots of tables follow their tokens."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_trainsteps.rolling import VocabularyMap, warm_start
from keras_trainsteps.rolling.artifacts.model_state import state_of as copy_of
from tests.rolling.warm_start.starts import (
    OPTIMIZERS,
    Dense,
    compiled,
    randomized,
    refused,
    sequential,
    shop,
    values,
)


def test_another_order_of_the_same_tokens_is_refused():
    source, model = shop(["cat", "dog", "fox"]), shop(["fox", "cat", "dog"], seed=1)
    refused(model, source, "lookup: other vocabulary: row 1 is 'cat' in the source, 'fox'")
    report = warm_start(model, source, vocabularies={"table": "lookup"})
    assert report.remapped == ("table/embeddings",)
    x = keras.ops.convert_to_tensor(np.array(["cat", "dog", "fox", "emu"], dtype=object))
    np.testing.assert_array_equal(model(x), source(x))


def test_moved_special_rows_are_refused():
    source = shop("abc")
    named = {"vocabularies": {"table": "lookup"}}
    more = shop("abc", oov=2, seed=1)
    refused(more, source, "lookup: num_oov_indices is 1 in the source, 2 in the model", **named)
    masked = shop("abc", mask="-", seed=1)
    refused(masked, source, "lookup: mask_token is None in the source, '-' in the model", **named)


TOKENS = st.lists(st.sampled_from("abcdefgh"), unique=True, min_size=1, max_size=6)


@given(old=TOKENS, new=TOKENS, oov=st.integers(1, 2), mask=st.sampled_from([None, "-"]))
def test_rows_and_slots_follow_their_tokens(old, new, oov, mask):
    source = shop(old, oov=oov, mask=mask)
    model = shop(new, oov=oov, mask=mask, seed=1)
    before = copy_of(model)
    report = warm_start(model, source, vocabularies={"table": "lookup"}, optimizer="carry")
    table, was = values(model)["table/embeddings"], values(source)["table/embeddings"]
    tokens = {
        side: m.get_layer("lookup").get_vocabulary()
        for side, m in (("old", source), ("new", model))
    }
    slots = {side: copy_of(m).optimizer.slots for side, m in (("old", source), ("new", model))}
    special = oov + (mask is not None)
    for row, token in enumerate(tokens["new"]):
        kept = row if row < special else None
        if kept is None and token in old:
            kept = tokens["old"].index(token)
        if kept is None:
            np.testing.assert_array_equal(table[row], before.weights["table/embeddings"][row])
        else:
            np.testing.assert_array_equal(table[row], was[kept])
        for slot in ("momentums", "velocities"):
            value = slots["new"][slot, "table/embeddings"][row]
            expected = 0 if kept is None else slots["old"][slot, "table/embeddings"][kept]
            np.testing.assert_array_equal(value, np.broadcast_to(expected, 3))
    both = sorted({*old} & {*new})
    if both:
        x = keras.ops.convert_to_tensor(np.array(both, dtype=object))
        np.testing.assert_array_equal(model(x), source(x))
    require_partition(report, copy_of(source), copy_of(model))


def require_partition(report, source, model):
    """Every value of both sides is in the report exactly once."""

    def all_of(state):
        paths = [*state.weights, *(f"random/{path}" for path in state.seeds)]
        if state.optimizer is not None:
            paths += [f"optimizer/{name}" for name in state.optimizer.scalars]
            paths += [f"optimizer/{a}/{b}" for a, b in state.optimizer.slots]
        return sorted(paths)

    taken = [*report.loaded, *report.remapped]
    assert sorted([*taken, *report.initialized]) == all_of(model)
    assert sorted([*taken, *report.dropped]) == all_of(source)


@given(
    source=st.lists(st.sampled_from("abcde"), unique=True, min_size=1),
    model=st.lists(st.sampled_from("abcde"), unique=True, min_size=1),
    policy=st.sampled_from(["reset", "carry"]),
    rate=st.sampled_from(["code", "saved"]),
)
def test_the_report_is_a_partition_of_both_sides(source, model, policy, rate):
    def build(names):
        layers = [Dense(4, name=name) for name in names]
        return compiled(sequential(*layers, keras.layers.Dropout(0.5, name="drop")))

    old, new = build(sorted(source)), build(sorted(model))
    states = copy_of(old), copy_of(new)
    report = warm_start(
        new,
        old,
        optimizer=policy,
        learning_rate=rate,
        allow_unused=sorted({*source} - {*model}),
        allow_missing=sorted({*model} - {*source}),
    )
    require_partition(report, *states)


def test_new_rows_can_begin_at_the_mean():
    source, model = shop("ab"), shop("abc", seed=1)
    mean = VocabularyMap(lookup="lookup", new_rows="mean", new_slots="mean")
    warm_start(model, source, vocabularies={"table": mean}, optimizer="carry")
    old, new = values(source)["table/embeddings"], values(model)["table/embeddings"]
    np.testing.assert_allclose(new[3], old.mean(axis=0), rtol=1e-6)
    slots = copy_of(model).optimizer.slots["velocities", "table/embeddings"]
    np.testing.assert_allclose(slots[3], slots[:3].mean(axis=0), rtol=1e-6)


def test_columns_of_an_output_layer_follow_classes():
    def build(classes):
        return sequential(Dense(len(classes), use_bias=False, name="out"))

    source, model = randomized(build("abc")), randomized(build("cabd"), seed=1)
    columns = VocabularyMap(old="abc", new="cabd", axis=1)
    before = values(model)["out/kernel"]
    warm_start(model, source, vocabularies={"out": columns})
    new, old = values(model)["out/kernel"], values(source)["out/kernel"]
    np.testing.assert_array_equal(new[:, :3], old[:, [2, 0, 1]])
    np.testing.assert_array_equal(new[:, 3], before[:, 3])


def test_spare_rows_of_a_table_begin_anew():
    source, model = shop("ab", rows=10), shop("abc", rows=12, seed=1)
    before = values(model)["table/embeddings"]
    warm_start(model, source, vocabularies={"table": "lookup"})
    np.testing.assert_array_equal(values(model)["table/embeddings"][4:], before[4:])


def test_a_grown_table_without_its_vocabulary_is_refused():
    refused(shop("abc", seed=1), shop("ab"), "lookup: other vocabulary")
    wrong = VocabularyMap(old="abcdefgh", new="abc")
    match = "the old vocabulary has 8 tokens, its table only 3 rows"
    refused(shop("abc", seed=1), shop("ab"), match, vocabularies={"table": wrong})
    factored = OPTIMIZERS["adafactor"]
    refused(
        shop("abc", optimizer=factored(), seed=1),
        shop("ab", optimizer=factored()),
        "is not that of its table",
        vocabularies={"table": "lookup"},
        optimizer="carry",
    )


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({}, "either `lookup`, or both"),
        ({"old": "ab"}, "either `lookup`, or both"),
        ({"lookup": "l", "new_rows": "zeros"}, "`new_rows` must be"),
        ({"lookup": "l", "new_slots": "zeros"}, "`new_slots` must be"),
    ],
)
def test_bad_vocabulary_maps_are_refused(options, match):
    with pytest.raises(ValueError, match=match):
        VocabularyMap(**options)
