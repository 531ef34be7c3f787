"""Statistics of the gate against plain loops; error rates by simulation."""

import math

import numpy as np
import pytest

from keras_trainsteps.rolling.gate import statistics

RNG = np.random.default_rng(0)


def test_ndcg_of_a_list_worked_out_by_hand():
    labels, scores = np.array([0.0, 2.0, 1.0]), np.array([3.0, 2.0, 1.0])
    dcg = 3 / math.log2(3) + 1 / math.log2(4)
    best = 3 / math.log2(2) + 1 / math.log2(3)
    assert statistics.ndcg(labels, scores) == pytest.approx(dcg / best)
    assert statistics.ndcg(labels, scores, k=1) == 0
    assert math.isnan(statistics.ndcg(np.zeros(3), scores))
    tied = statistics.ndcg(np.array([1.0, 0.0]), np.zeros(2))
    assert tied == pytest.approx((1 + 1 / math.log2(3)) / 2)  # both orders, half each


def test_pair_statistics_against_plain_loops():
    labels, old, new = RNG.integers(0, 3, 9), RNG.integers(0, 5, 9), RNG.integers(0, 5, 9)
    pairs = [(i, j) for i in range(9) for j in range(9) if labels[i] > labels[j]]
    right = sum(1.0 * (old[i] > old[j]) + 0.5 * (old[i] == old[j]) for i, j in pairs)
    assert statistics.pair_accuracy(labels, old) == pytest.approx(right / len(pairs))
    assert math.isnan(statistics.pair_accuracy(np.ones(3), np.arange(3)))
    agree = left = both = 0
    for i in range(9):
        for j in range(i):
            a, b = np.sign(old[i] - old[j]), np.sign(new[i] - new[j])
            agree, left, both = agree + a * b, left + (a != 0), both + (b != 0)
    assert statistics.kendall_tau(old, new) == pytest.approx(agree / math.sqrt(left * both))
    assert math.isnan(statistics.kendall_tau(np.zeros(3), np.arange(3)))


def test_overlap_and_drift():
    assert statistics.top_overlap(np.arange(5), np.arange(5), 2) == 1
    assert statistics.top_overlap(np.arange(4), -np.arange(4), 2) == 0
    assert statistics.top_overlap(np.arange(3), -np.arange(3), 9) == 1
    scores = RNG.normal(size=4000)
    assert statistics.stability_index(scores, scores) == 0
    assert statistics.stability_index(scores, RNG.normal(size=4000)) < 0.02
    assert statistics.stability_index(scores, scores + 1) > 0.5


def simulated(rows_as_queries, *, trials=200, effect=0.0):
    """How often a gain is found between two models, with differences shared by a query."""
    generator = np.random.default_rng(5)
    found = 0
    for trial in range(trials):
        shared = generator.normal(effect, 1, 40)
        gains = np.repeat(shared, 10) + generator.normal(0, 0.3, 400)
        values = gains if rows_as_queries else gains.reshape(40, 10).mean(axis=1)
        low, _ = statistics.bootstrap_mean(values, samples=400, confidence=0.95, seed=trial)
        found += low > 0
    return found / trials


def test_the_bootstrap_errs_as_often_as_it_says():
    # One side of a 95 % interval: 2.5 %, binomial standard error 1.1 % in 200 trials.
    assert simulated(rows_as_queries=False) <= 0.025 + 3 * 0.011
    assert simulated(rows_as_queries=True) > 0.15  # rows are not independent
    assert simulated(rows_as_queries=False, effect=1.0) > 0.95


def test_few_queries_decide_nothing():
    interval = statistics.bootstrap_mean(np.ones(1), samples=10, confidence=0.9, seed=0)
    assert interval == (-math.inf, math.inf)
