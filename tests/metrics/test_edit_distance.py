import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from keras_trainsteps import LossAwareModel, losses
from keras_trainsteps.data import ROW_MASK
from keras_trainsteps.metrics import EditDistance
from keras_trainsteps.metrics.levenshtein import edit_distances, in_loops, kept_first
from tests.reference import sequence as reference


@st.composite
def batches(draw):
    """References, predictions of another length, masks of both, and a weight each."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    b, t, s = draw(st.integers(0, 4)), draw(st.integers(0, 5)), draw(st.integers(0, 5))
    return (
        rng.integers(0, 4, (b, t)),
        rng.integers(0, 4, (b, s)),
        rng.random((b, t)) < 0.7,
        rng.integers(0, 3, b) / 2,
    )


@given(batch=batches())
def test_distances_are_those_of_plain_recursion(batch):
    y, found, kept, _ = batch
    arguments = *kept_first(*map(tf.constant, (found, found > 0))), *kept_first(y, kept)
    expected = [
        reference.edits(found[i][found[i] > 0].tolist(), y[i][kept[i]].tolist())
        for i in range(len(y))
    ]
    for distances in (edit_distances, in_loops):
        assert distances(*arguments).numpy().tolist() == expected


@given(
    first=batches(),
    second=batches(),
    normalize=st.sampled_from(["tokens", "sequences"]),
    end=st.sampled_from([None, 3]),
)
def test_an_epoch_is_a_ratio_of_sums(first, second, normalize, end):
    metric = EditDistance(pad_id=0, end_id=end, normalize=normalize)
    columns = [[], [], [], [], []]
    for y, found, kept, weight in (first, second):
        metric.update_state(y, found, weight, mask=kept)
        both = y, found, kept & (y != 0), found != 0, weight
        columns = [column + part.tolist() for column, part in zip(columns, both, strict=True)]
    expected = reference.edit_distance(*columns, normalize=normalize, end=end)
    np.testing.assert_allclose(metric.result(), expected, rtol=1e-14)


def test_words_and_characters():
    # "the cat sat on the mat" for "the cat sit on mat": one substitution, one word left out.
    reference, found = [[1, 2, 3, 4, 1, 5]], [[1, 2, 6, 4, 5]]
    metric = EditDistance()
    metric.update_state(reference, found)
    assert float(metric.result()) == pytest.approx(2 / 6)
    for a, b, edits in (("kitten", "sitting", 3), ("Saturday", "Sunday", 3), ("", "abc", 3)):
        metric = EditDistance(normalize="sequences")
        metric.update_state(
            *(np.array([[ord(c) for c in word]]).reshape(1, -1) for word in (a, b))
        )
        assert float(metric.result()) == edits


def ids_of(sentences, vocabulary):
    words = [sentence.split() for sentence in sentences]
    longest = max(map(len, words))
    numbers = [[vocabulary.setdefault(w, len(vocabulary) + 1) for w in one] for one in words]
    return np.array([one + [0] * (longest - len(one)) for one in numbers])


@pytest.mark.parametrize(
    ("normalize", "expected"), [("tokens", (0.733, 0.85)), ("sequences", (5.5, 5.667))]
)
def test_the_examples_of_keras_hub(normalize, expected):
    # test_update_state_normalize and _false of edit_distance_test.py.
    metric, vocabulary = EditDistance(pad_id=0, normalize=normalize), {}
    batches = [
        (
            ["the tiny little cat was found under the big funny bed", "it is sunny today"],
            ["the cat was found under the bed", "it is sunny but with a hint of cloud cover"],
        ),
        (["what is your favourite show"], ["my favourite show is silicon valley"]),
    ]
    for batch, value in zip(batches, expected, strict=True):
        metric.update_state(*(ids_of(sentences, vocabulary) for sentences in batch))
        assert float(metric.result()) == pytest.approx(value, abs=1e-3)


def test_logits_are_the_ids_of_their_likeliest_classes_where_a_token_is():
    rng = np.random.default_rng(0)
    y, z = rng.integers(0, 5, (4, 6)), rng.normal(size=(4, 6, 5))
    found = np.where(y != 0, z.argmax(-1), 0)
    of_logits, of_ids, implied = (EditDistance(pad_id=0), EditDistance(pad_id=0), EditDistance())
    of_logits.update_state(y, np.where((y != 0)[..., None], z, np.nan))
    of_ids.update_state(y, found)
    z = tf.constant(z)
    z._keras_mask = tf.constant(y != 0)
    implied.update_state(y, z)
    assert float(of_logits.result()) == float(of_ids.result())
    zeros_kept = float(implied.result())  # a predicted 0 is a token there
    by_hand = EditDistance()
    by_hand.update_state(y, z, mask=y != 0)
    assert zeros_kept == float(by_hand.result())


def test_nothing_is_0_and_edits_of_nothing_are_infinite():
    metric = EditDistance(pad_id=0)
    assert float(metric.result()) == 0.0
    metric.update_state([[0, 0]], [[0, 0, 0]])
    assert float(metric.result()) == 0.0
    metric.update_state([[0, 0]], [[1]])
    assert float(metric.result()) == np.inf
    metric.reset_state()
    assert float(metric.result()) == 0.0


def test_nan_is_not_hidden():
    metric = EditDistance()
    metric.update_state([[0, 1]], [[[1.0, 0.0], [np.nan, 0.0]]])
    assert np.isnan(metric.result())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[1, 2]], [1, 2]), r"`y_pred` must be ids, shape \(batch, length\), or .*\(2,\)"),
        (([1, 2], [[1, 2]]), r"`y_true` must be ids, shape \(batch, length\).*\(2,\)"),
        (([[1, 2]], [[1], [2]]), "must have the same number of sequences. Received: 1 and 2"),
        (([[1, 2]], [[0.5, 0.25]]), r"`y_pred` must hold ids, .*of 0\.5\. Pass logits as \(b"),
        (([[1, 2]], [[np.nan, 1]]), "`y_pred` must hold ids, whole numbers.*of nan"),
        (([[1, 2]], [[1, 2]], np.ones((1, 2))), "`sample_weight` must have one entry per seq"),
        (([[1, 2]], [[1, 2]], [-1.0]), "`sample_weight` must be numbers"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        EditDistance().update_state(*arguments)


def test_bad_options_are_refused():
    with pytest.raises(ValueError, match="`mask` must have one entry per token of the referenc"):
        EditDistance().update_state([[1, 2]], [[1]], mask=[[True]])
    with pytest.raises(ValueError, match="`normalize` must be one of 'tokens', 'sequences'"):
        EditDistance(normalize=True)
    with pytest.raises(TypeError, match="`end_id` must be an integer"):
        EditDistance(end_id=2.0)


def test_config_round_trip():
    made = EditDistance(mask="mask", pad_id=3, end_id=np.int64(1), normalize="sequences")
    restored = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(made))
    assert restored.get_config() == made.get_config()
    assert type(restored.end_id) is int
    assert restored.side_inputs == ("mask",)
    assert repr(EditDistance(end_id=2)) == "EditDistance(end_id=2)"


@pytest.mark.parametrize("jit_compile", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_in_a_step_whose_last_batch_is_filled_up(jit_compile):
    inputs = keras.Input((4,), dtype="int32", name="words")
    hidden = keras.layers.Embedding(5, 4)(inputs)
    model = LossAwareModel(inputs, keras.layers.Dense(5)(hidden))
    metric = EditDistance(pad_id=0)
    model.compile(
        "adam", losses.MaskedCrossentropy(pad_id=0), metrics=[metric], jit_compile=jit_compile
    )
    words = np.random.default_rng(0).integers(0, 5, (6, 4))
    x = {"words": words, ROW_MASK: np.array([1, 1, 1, 1, 0, 0], bool)}
    logs = model.evaluate(x, words, 6, 0, return_dict=True)
    plain = EditDistance(pad_id=0)
    plain.update_state(words[:4], model({"words": words[:4]}))
    assert logs["edit_distance"] == pytest.approx(float(plain.result()), rel=1e-6)
    assert logs["edit_distance"] > 0
