"""Labels as they are given: large ones stay apart, large gains stay finite, -1 is no label."""

from fractions import Fraction

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_trainsteps import LossAwareModel, metrics
from keras_trainsteps.metrics import DCG, NDCG, PairAccuracy
from tests.metrics.test_bad_input import ALL

# Here grades are taken for relevant where they are above 0.
pytestmark = pytest.mark.filterwarnings("ignore:`.*` takes every label above 0 for relevant")

NOW = 1_700_000_000
IDS = np.zeros(4, int)
SCORES = np.array([0.3, -0.2, 0.5, 0.1])


def value(metric, *given, **named):
    metric.update_state(*given, **named)
    return float(metric.result())


@pytest.mark.parametrize("dtype", ["int64", "float64"])
@pytest.mark.parametrize("scores", ["float32", "float64"])
def test_pairs_of_large_labels_are_pairs(dtype, scores):
    labels = (NOW + np.array([0, 50, 20, 3])).astype(dtype)
    # Of six pairs two are in order: 20 above 0, and 20 above 3.
    found = value(PairAccuracy("q"), labels, SCORES.astype(scores), query_ids=IDS)
    assert found == pytest.approx(2 / 6, rel=1e-12)


@pytest.mark.parametrize("dtype", ["int64", "float64 dataset"])
def test_targets_of_fit_stay_apart(dtype):
    inputs = keras.Input((1,), name="score")
    model = LossAwareModel(inputs, keras.layers.Rescaling(1.0)(inputs))
    model.compile(loss="mse", metrics=[PairAccuracy("q")], run_eagerly=True)
    x = {"score": SCORES[:, None].astype("float32"), "q": IDS}
    y = (NOW + np.array([0, 50, 20, 3])).astype(dtype.split()[0])
    given = (tf.data.Dataset.from_tensors((x, y)),) if "dataset" in dtype else (x, y)
    logs = model.evaluate(*given, verbose=0, return_dict=True)
    assert logs["pair_accuracy"] == pytest.approx(2 / 6, rel=1e-12)
    if "dataset" not in dtype:
        with pytest.raises(ValueError, match="`y` must hold labels that float32 tells apart"):
            model.evaluate(x, y.astype("float64"), verbose=0)


def exact_ndcg(labels, scores, k=None):
    """By whole numbers: gains are fractions of the largest one, which are exact."""
    gains = [Fraction(2**y - 1, 2 ** max(labels)) for y in labels]
    order = sorted(range(len(labels)), key=lambda i: -scores[i])[:k]
    best = sorted(gains, reverse=True)[:k]
    dcg = sum(float(gains[i]) / np.log2(2 + place) for place, i in enumerate(order))
    return dcg / sum(float(gain) / np.log2(2 + place) for place, gain in enumerate(best))


@pytest.mark.parametrize("top", [1000, 1023, 1024, 1025, 5000])
@pytest.mark.parametrize("k", [None, 2])
def test_ndcg_of_large_gains(top, k):
    labels = [top, top - 1, 0, top - 2]
    found = value(NDCG("q", k=k), labels, SCORES, query_ids=IDS)
    assert found == pytest.approx(exact_ndcg(labels, SCORES, k), rel=1e-12)


def test_ndcg_of_a_large_query_beside_a_small_one():
    labels, ids = np.array([5000, 0, 1, 0, 2, 1]), [1, 1, 1, 2, 2, 2]
    scores = np.array([0.1, 0.4, 0.2, 0.3, 0.2, 0.1])
    expected = [
        exact_ndcg(labels[rows].tolist(), scores[rows]) for rows in ([0, 1, 2], [3, 4, 5])
    ]
    found = value(NDCG("q"), labels, scores, query_ids=ids)
    assert found == pytest.approx(np.mean(expected), rel=1e-12)


@pytest.mark.parametrize("label", [1024.0, np.inf])
@pytest.mark.parametrize("build", [DCG, lambda q: NDCG(q, gains=lambda y: 2.0**y - 1)])
def test_gains_that_have_no_number_are_refused(build, label):
    with pytest.raises(ValueError, match=rf"nor of a gain above 1e280.*a label of {label}"):
        build("q").update_state([label, 1.0], [0.0, 1.0], query_ids=[1, 1])


@pytest.mark.parametrize("build", [NDCG, metrics.ARP])
def test_infinite_labels_are_refused(build):
    with pytest.raises(ValueError, match=r"`y_true` must not be negative .* a label of inf"):
        build("q").update_state([np.inf, 1.0], [0.0, 1.0], query_ids=[1, 1])


LISTS = np.array([[1.0, 0.0, -1.0], [0.0, 2.0, 1.0]])
OF_LISTS = np.array([[0.1, 0.2, 0.3], [0.3, 0.1, 0.2]])


@pytest.mark.parametrize("name", ALL)
def test_minus_1_in_padded_lists_is_refused_and_a_mask_leaves_it_out(name):
    match = r"`y_true` must not be negative in padded lists without a `mask`.*`mask=y >= 0`"
    with pytest.raises(ValueError, match=match):
        ALL[name](None).update_state(LISTS, OF_LISTS)
    kept = LISTS >= 0
    found = value(ALL[name](None), LISTS, OF_LISTS, mask=kept)
    ids = np.array([[0, 0, 0], [1, 1, 1]])[kept]
    expected = value(ALL[name]("q"), LISTS[kept], OF_LISTS[kept], query_ids=ids)
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("build", [PairAccuracy, metrics.QueryAUC, metrics.MRR])
def test_real_negative_labels_go_with_ids_or_a_mask(build):
    by_ids = value(build("q"), LISTS.ravel(), OF_LISTS.ravel(), query_ids=[0, 0, 0, 1, 1, 1])
    by_mask = value(build(None), LISTS, OF_LISTS, mask=np.ones_like(LISTS))
    assert by_mask == pytest.approx(by_ids, rel=1e-12)
