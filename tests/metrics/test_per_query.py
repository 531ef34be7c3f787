"""Values by query, intervals of their means and paired comparisons, against the metrics."""

import math

import numpy as np
import pytest
from hypothesis import given, settings

from keras_trainsteps.metrics import MRR, NDCG, OPA, PairAccuracy, compare, per_query
from tests.metrics.test_query_metric import CASES, batches, update

# Here grades are taken for relevant where they are above 0.
pytestmark = pytest.mark.filterwarnings("ignore:`.*` takes every label above 0 for relevant")
NAMES = ("ndcg", "map@2", "mrr from 2", "pair_accuracy", "opa")
BUILDS = {name: CASES[name][0] for name in CASES} | {"opa": lambda: OPA("q")}


@settings(max_examples=4)
@given(batches())
def test_the_mean_of_the_table_is_the_metric(batch):
    kept = batch["mask"]
    if not kept.any() or batch["y"][kept].max() < 2:
        return
    made = {name: BUILDS[name]() for name in NAMES}
    for name, metric in made.items():
        metric.name = name
    table = per_query(
        list(made.values()), batch["y"], batch["s"], query_ids=batch["ids"], mask=kept
    )
    ids, rows = np.unique(batch["ids"][kept], return_counts=True)
    np.testing.assert_array_equal(table.ids, ids)
    np.testing.assert_array_equal(table.rows, rows)
    for name, metric in made.items():
        assert float(metric.count.numpy()) == 0.0  # its state is left alone
        update(metric, batch)
        weights = table.weights[name]
        if weights.any():
            values = np.where(weights > 0, table[name], 0.0)
            assert values @ weights / weights.sum() == pytest.approx(
                float(metric.result()), rel=1e-12
            )
            assert table.interval(name, samples=10).mean == pytest.approx(
                float(metric.result()), rel=1e-12
            )


LABELS, SCORES = np.array([0, 1, 1, 0, 0, 0]), np.array([3.0, 2.0, 1.0, 0.0, 1.0, 2.0])
IDS = np.array(["b", "b", "a", "a", "c", "c"])


def test_a_table_shows_its_lines():
    table = per_query([MRR(), PairAccuracy()], LABELS, SCORES[:, None], query_ids=IDS)
    assert len(table) == 3
    assert str(table).splitlines() == [
        "id  rows  mrr     pair_accuracy",
        "a   2     1.0000  1.0000",
        "b   2     0.5000  0.0000",
        "c   2     0.0000  nan",
    ]
    assert list(table.columns()) == ["id", "rows", "mrr", "pair_accuracy"]
    assert table.worst("pair_accuracy").tolist() == ["b", "a"]
    assert table.interval("pair_accuracy").queries == 2


def test_an_interval_is_about_as_wide_as_it_says():
    rng = np.random.default_rng(0)
    ids, labels = np.repeat(np.arange(200), 5), rng.random(1000) < 0.3
    table = per_query(NDCG(), labels, rng.normal(size=1000), query_ids=ids)
    found = table.interval("ndcg", confidence=0.9)
    error = np.std(table["ndcg"], ddof=1) / math.sqrt(200)
    assert found.high - found.low == pytest.approx(2 * 1.645 * error, rel=0.08)
    assert found.low < found.mean < found.high


def test_a_comparison_is_paired():
    rng = np.random.default_rng(0)
    ids, labels = np.repeat(np.arange(100), 6), rng.random(600) < 0.3
    noise = rng.normal(size=600)
    old = per_query(NDCG(), labels, noise, query_ids=ids)
    new = per_query(NDCG(), labels, noise + 0.5 * labels, query_ids=ids)
    found = compare(new, old, "ndcg")
    assert found.mean == pytest.approx(np.mean(new["ndcg"] - old["ndcg"]), rel=1e-12)
    assert 0 < found.low < found.mean < found.high
    assert found.p_value < 0.01
    assert (found.higher, found.lower) == (np.sum(new["ndcg"] > old["ndcg"]), 0)
    # Alone, their intervals overlap: most of what varies is common to both.
    assert new.interval("ndcg").low < old.interval("ndcg").high
    back = compare(old, new, "ndcg")
    assert (back.mean, back.p_value) == (-found.mean, found.p_value)


def test_a_nan_score_is_not_hidden():
    scores = np.where(IDS == "b", np.nan, SCORES)
    table = per_query(MRR(), LABELS, scores, query_ids=IDS)
    np.testing.assert_array_equal(np.isnan(table["mrr"]), [False, True, False])
    assert math.isnan(table.interval("mrr").mean)


def table_of(metrics, query_ids=IDS, **options):
    return per_query(metrics, LABELS, SCORES, query_ids=query_ids, **options)


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda f: f([]), ValueError, "must have different names"),
        (lambda f: f([MRR(), MRR()]), ValueError, "must have different names.*`name=`"),
        (lambda f: f(["ndcg"]), TypeError, "`metrics` must be metrics by query.*str"),
        (lambda f: f(MRR(), query_ids=IDS[:2]), ValueError, "one entry per row.*6, 6, 2"),
        (lambda f: f(MRR(), query_ids=np.eye(6)), ValueError, "`query_ids` must have one entry"),
        (lambda f: f(MRR())["map"], ValueError, "`name` must be a metric of the table"),
        (lambda f: f(MRR()).interval("mrr", confidence=95), ValueError, "`confidence` must be"),
        (lambda f: f(MRR()).interval("mrr", samples=0), ValueError, "`samples` must be an"),
        (lambda f: f(NDCG(gains=[0])), ValueError, "whole numbers from 0 to 0"),
        (
            lambda f: compare(f(MRR()), f(MRR(), mask=IDS != "c"), "mrr"),
            ValueError,
            "`new` and `old` must be of the same queries. Received: 3 and 2",
        ),
    ],
)
def test_what_is_refused(call, error, match):
    with pytest.raises(error, match=match):
        call(table_of)
