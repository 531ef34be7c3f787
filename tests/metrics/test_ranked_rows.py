"""Rules for equal scores: all orders by brute force, random orders, zeros of both signs."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_trainsteps import metrics
from keras_trainsteps.metrics import DCG, MAP, MRR, NDCG
from keras_trainsteps.metrics.by_query import group, values_by_query
from tests.reference import ranking

# Here grades are taken for relevant where they are above 0.
pytestmark = pytest.mark.filterwarnings("ignore:`.*` takes every label above 0 for relevant")


def case(build, value, **options):
    return build, functools.partial(ranking.average, value, **options)


CASES = {
    "dcg@3": case(functools.partial(DCG, k=3), ranking.dcg, k=3),
    "ndcg": case(NDCG, ranking.ndcg),
    "ndcg@2": case(functools.partial(NDCG, k=2), ranking.ndcg, k=2),
    "mrr": case(MRR, ranking.mrr),
    "mrr@2": case(functools.partial(MRR, k=2), ranking.mrr, k=2),
    "hit_rate@2": case(functools.partial(metrics.HitRateAtK, k=2), ranking.hit_rate, k=2),
    "precision@2": case(functools.partial(metrics.PrecisionAtK, k=2), ranking.precision, k=2),
    "recall@3": case(functools.partial(metrics.RecallAtK, k=3), ranking.recall, k=3),
    "map": case(MAP, ranking.average_precision),
    "map@3": case(functools.partial(MAP, k=3), ranking.average_precision, k=3),
    "arp": case(metrics.ARP, ranking.arp),
    "r_precision": case(metrics.RPrecision, ranking.r_precision),
    "f1@2": case(functools.partial(metrics.F1AtK, k=2), ranking.f1, k=2),
    "bpref": case(metrics.BPref, ranking.bpref),
    "rbp": case(functools.partial(metrics.RBP, k=3), ranking.rbp, k=3),
    "err": case(functools.partial(metrics.ERR, highest_label=2), ranking.err, highest_label=2),
    "err@2": case(
        functools.partial(metrics.ERR, k=2, highest_label=3), ranking.err, k=2, highest_label=3
    ),
}
RULES = [build for build, _ in CASES.values()]


@st.composite
def queries(draw):
    """Queries of at most 5 rows, most of them tied."""
    sizes = draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    rows = sum(sizes)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    order = rng.permutation(rows)
    y = rng.integers(0, draw(st.integers(1, 3)), size=rows).astype("float64")
    s = rng.integers(-1, draw(st.integers(0, 2)), size=rows).astype("float64")
    s = np.where(s < draw(st.sampled_from([-9, 0])), -np.inf, s)  # some are not retrieved
    return y, s, np.repeat(np.arange(len(sizes)), sizes)[order], rng.random(rows) < 0.9


def assert_average_is_the_mean_over_all_orders(batch):
    y, s, ids, mask = batch
    for name, (build, value) in CASES.items():
        metric = build("q", ties="average")
        metric.update_state(y, s, query_ids=ids, mask=mask)
        expected = ranking.by_query(value, y, s, ids, mask)
        assert float(metric.result()) == pytest.approx(expected, rel=1e-12, abs=1e-12), name


@settings(max_examples=6)
@given(queries())
def test_average_is_the_mean_over_all_orders(batch):
    assert_average_is_the_mean_over_all_orders(batch)


@pytest.mark.slow
@settings(max_examples=40)
@given(queries())
def test_average_is_the_mean_over_all_orders_of_many_batches(batch):
    assert_average_is_the_mean_over_all_orders(batch)


# One relevant row, first of 100 of one score: its rank is any from 1 to 100.
LEARNED_NOTHING = {
    "ndcg@10": (NDCG, {"k": 10}, sum(1 / np.log2(1 + r) for r in range(1, 11)) / 100),
    "dcg": (DCG, {}, sum(1 / np.log2(1 + r) for r in range(1, 101)) / 100),
    "mrr": (MRR, {}, sum(1 / r for r in range(1, 101)) / 100),
    "map": (MAP, {}, sum(1 / r for r in range(1, 101)) / 100),
    "hit_rate@10": (metrics.HitRateAtK, {"k": 10}, 10 / 100),
    "precision@10": (metrics.PrecisionAtK, {"k": 10}, 1 / 100),
    "recall@10": (metrics.RecallAtK, {"k": 10}, 10 / 100),
    "arp": (metrics.ARP, {}, 101 / 2),
    "r_precision": (metrics.RPrecision, {}, 1 / 100),
    "f1@10": (metrics.F1AtK, {"k": 10}, (10 / 100) * 2 / 11),
    "bpref": (metrics.BPref, {}, 1 / 100),
    "rbp": (metrics.RBP, {}, 0.2 * sum(0.8**r for r in range(100)) / 100),
    "err": (metrics.ERR, {"highest_label": 1}, sum(1 / r for r in range(1, 101)) / 200),
    "kendall_tau": (metrics.KendallTau, {}, 0.0),
    "spearman_rho": (metrics.SpearmanRho, {}, 0.0),
    "opa": (metrics.OPA, {}, 1 / 2),
    "pair_accuracy": (metrics.PairAccuracy, {}, 1 / 2),
    "query_auc": (metrics.QueryAUC, {}, 1 / 2),
}


@pytest.mark.parametrize("place", [0, 37, 99])
@pytest.mark.parametrize("name", LEARNED_NOTHING)
def test_by_default_scores_that_are_all_alike_are_worth_their_chance(name, place):
    build, options, expected = LEARNED_NOTHING[name]
    labels = (np.arange(100) == place).astype("float32")
    saturated = keras.ops.sigmoid(np.full(100, 60.0, "float32"))
    metric = build("q", **options)
    metric.update_state(labels, saturated, query_ids=np.zeros(100, int))
    assert float(metric.result()) == pytest.approx(expected, rel=1e-12)


def test_in_the_gate_too():
    labels, ids = (np.arange(200) % 100 == 0).astype(float), np.arange(200) // 100
    found = values_by_query(NDCG(k=10), labels, np.zeros(200), group(ids))
    np.testing.assert_allclose(found, LEARNED_NOTHING["ndcg@10"][2], rtol=1e-12)


@pytest.mark.parametrize("build", RULES)
def test_without_ties_the_rules_agree(build):
    rng = np.random.default_rng(0)
    batch = (rng.integers(0, 3, size=20), rng.permutation(20).astype("float64"))
    found = []
    for ties in ("stable", "average", "random"):
        metric = build("q", ties=ties)
        metric.update_state(*batch, query_ids=np.arange(20) % 4)
        found.append(float(metric.result()))
    assert found[0] == found[2] == pytest.approx(found[1], rel=1e-14)


def test_long_runs_of_ties_stay_exact():
    rows, relevant = 2000, 3
    y = np.arange(rows) < relevant
    # P(the first relevant row is at rank r) by exact integers.
    orders = [1.0]
    for rank in range(1, rows):
        orders.append(orders[-1] * (rows - relevant - rank + 1) / (rows - rank + 1))
    chances = [left * relevant / (rows - i) for i, left in enumerate(orders)]
    for metric, expected in (
        (MRR("q", ties="average"), sum(p / (i + 1) for i, p in enumerate(chances))),
        (metrics.HitRateAtK("q", k=50, ties="average"), sum(chances[:50])),
        (metrics.RecallAtK("q", k=50, ties="average"), 50 / rows),
    ):
        metric.update_state(y, np.zeros(rows), query_ids=np.zeros(rows, int))
        assert float(metric.result()) == pytest.approx(expected, rel=1e-12)


class Hits:
    """MRR of queries of a relevant and another row of one score: 1 or 1/2 each."""

    def __init__(self, seed, queries=400, **compiled):
        self.metric = MRR("q", ties="random", seed=seed, split_queries="count_parts")
        self.update = tf.function(self.metric.update_state, **compiled)
        self.ids = tf.constant(np.repeat(np.arange(queries), 2))
        self.labels = tf.constant(np.arange(2 * queries) % 2)

    def __call__(self, updates=1):
        self.metric.reset_state()
        for _ in range(updates):
            self.update(self.labels, tf.zeros(tf.shape(self.labels)), query_ids=self.ids)
        return float(self.metric.result())


@pytest.mark.parametrize("jit_compile", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_random_orders_are_fair(jit_compile):
    hits = Hits(seed=1, jit_compile=jit_compile)
    found = hits()
    assert found == pytest.approx(0.75, abs=4 * 0.25 / np.sqrt(400))
    assert found == hits()


def test_random_orders_repeat_with_the_seed_and_differ_without():
    found = {seed: Hits(seed)() for seed in (-1, 1)}
    assert Hits(seed=1)() == found[1]
    assert found[-1] != found[1]


def test_random_orders_differ_between_batches_and_repeat_after_a_reset():
    # Were the order that of the first batch again, the mean would be 1 or 1/2.
    assert 0.6 < Hits(seed=3, queries=1)(updates=100) < 0.9
    metric = metrics.DCG("q", ties="random", k=1)
    found = []
    for _ in range(2):
        metric.reset_state()
        for query in range(2):
            metric.update_state(np.arange(9), np.zeros(9), query_ids=np.full(9, query))
        found.append(float(metric.result()))
    assert found[0] == found[1]


@pytest.mark.slow  # by default XLA compiles metrics of epochs, of bad labels and split queries
@pytest.mark.parametrize("builds", [[MRR], [NDCG, MRR, MAP]])
def test_xla_agrees(builds):
    y = np.array([0.0, 1.0, 2.0, 0.0, 1.0, 0.0])
    s = np.array([0.0, -0.0, 1.0, 2.0, 2.0, 2.0])  # zeros of both signs are equal
    ids = np.array([0, 0, 0, 1, 1, 1])
    rules = ("stable", "average")  # XLA draws other random numbers
    built = [build("q", ties=ties) for build in builds for ties in rules]

    def update(y, s, ids):
        for metric in built:
            metric.update_state(y, s, query_ids=ids)

    found = []
    for run in (update, tf.function(update, jit_compile=True)):
        for metric in built:
            metric.reset_state()
        run(*map(tf.constant, (y, s, ids)))
        found.append([float(metric.result()) for metric in built])
    assert found[1] == pytest.approx(found[0], rel=1e-12)
