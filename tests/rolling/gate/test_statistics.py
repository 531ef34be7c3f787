"""Overlap and drift of scores; error rates of the bootstrap by simulation."""

import math

import numpy as np

from keras_trainsteps.rolling.gate import statistics

RNG = np.random.default_rng(0)


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
