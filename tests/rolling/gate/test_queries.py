"""Values per query are those of the library's metrics, whatever the order of the rows."""

import math

import numpy as np
import pytest

from keras_trainsteps import LossAwareModel
from keras_trainsteps.metrics import DCG, NDCG, PairAccuracy
from keras_trainsteps.metrics.by_query import group, values_by_query
from keras_trainsteps.rolling import ValueThreshold, evaluate_candidate

RNG = np.random.default_rng(0)


def values(metric, labels, scores, query_ids=None):
    labels, scores = np.asarray(labels, "float64"), np.asarray(scores, "float64")
    ids = np.zeros(len(labels), int) if query_ids is None else query_ids
    return values_by_query(metric, labels, scores, group(ids))


def test_ndcg_of_a_list_worked_out_by_hand():
    labels, scores = [0.0, 2.0, 1.0], [3.0, 2.0, 1.0]
    dcg = 3 / math.log2(3) + 1 / math.log2(4)
    best = 3 / math.log2(2) + 1 / math.log2(3)
    assert values(NDCG(), labels, scores) == pytest.approx(dcg / best)
    assert values(NDCG(k=1), labels, scores) == 0
    assert np.isnan(values(NDCG(no_relevant="skip"), np.zeros(3), scores))
    tied = values(NDCG(ties="average"), [1.0, 0.0], np.zeros(2))
    assert tied == pytest.approx((1 + 1 / math.log2(3)) / 2)  # both orders, half each


def test_pair_accuracy_against_plain_loops():
    labels, scores = RNG.integers(0, 3, 9), RNG.integers(0, 5, 9)
    pairs = [(i, j) for i in range(9) for j in range(9) if labels[i] > labels[j]]
    right = sum(1.0 * (scores[i] > scores[j]) + 0.5 * (scores[i] == scores[j]) for i, j in pairs)
    assert values(PairAccuracy(), labels, scores) == pytest.approx(right / len(pairs))
    assert np.isnan(values(PairAccuracy(), np.ones(3), np.arange(3)))


@pytest.mark.parametrize("ids", ["integers", "strings"])
@pytest.mark.parametrize(
    "metric", [NDCG(k=3), NDCG(ties="average"), PairAccuracy(), DCG(k=2), np.dot]
)
def test_queries_may_be_interleaved(metric, ids):
    query = RNG.permutation(np.repeat(np.arange(6), 7))[:40]
    labels, scores = RNG.integers(0, 3, 40), RNG.integers(0, 4, 40)
    named = query if ids == "integers" else np.array([f"q{q}" for q in query])
    found = values(metric, labels, scores, named)
    alone = [values(metric, labels[query == q], scores[query == q])[0] for q in range(6)]
    np.testing.assert_allclose(found, alone, rtol=1e-12)


@pytest.mark.parametrize("label", [-1.0, math.nan])
def test_labels_that_are_no_gains_are_refused(label):
    with pytest.raises(ValueError, match="`y_true` must not be negative or NaN"):
        values(NDCG(), [1.0, label], [1.0, 2.0])


class Scorer(LossAwareModel):
    """Predicts its input: the scores are what the test says."""

    def call(self, x):
        return x["score"]


def test_the_gate_and_evaluate_give_the_same_number():
    # Ties, queries without a relevant row, of one row, and longer than k.
    sizes = [1, 2, 5, 30, 4, 3]
    query = np.repeat(np.arange(6), sizes)
    labels = RNG.integers(0, 3, len(query)).astype("float32")
    labels[query == 4] = 0
    x = {"score": RNG.integers(0, 4, len(query)).astype("float32"), "query_id": query}
    model = Scorer()
    metrics = [NDCG(k=10, name="ndcg"), PairAccuracy(name="pair_accuracy")]
    model.compile(metrics=metrics, loss="mse", run_eagerly=True)
    logs = model.evaluate(x, labels, batch_size=len(query), verbose=0, return_dict=True)
    names = ("ndcg", "pair_accuracy")
    thresholds = [ValueThreshold(name, lower=0) for name in names]
    options = {"query_ids": query, "thresholds": thresholds}
    found = evaluate_candidate(None, model, (x, labels), **options)
    by_name = {check.name: check.value for check in found.checks}
    assert 0 < by_name["ndcg"] < 1
    for name in names:
        assert by_name[name] == pytest.approx(logs[name], rel=1e-12), name
    average = {"ndcg": NDCG(k=10, ties="average", no_relevant="skip")}
    other = evaluate_candidate(None, model, (x, labels), metrics=average, **options)
    assert other.checks[2].value != by_name["ndcg"]
