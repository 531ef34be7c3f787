"""Error rates of the bootstrap and of the test by signs, by simulation."""

import math

import numpy as np
import pytest

from keras_trainsteps.metrics.bootstrap import bootstrap_mean, sign_test


def simulated(rows_as_queries, *, trials=200, effect=0.0):
    """How often a gain is found between two models, with differences shared by a query."""
    generator = np.random.default_rng(5)
    found = 0
    for trial in range(trials):
        shared = generator.normal(effect, 1, 40)
        gains = np.repeat(shared, 10) + generator.normal(0, 0.3, 400)
        values = gains if rows_as_queries else gains.reshape(40, 10).mean(axis=1)
        low, _ = bootstrap_mean(values, samples=400, confidence=0.95, seed=trial)
        found += low > 0
    return found / trials


def test_the_bootstrap_errs_as_often_as_it_says():
    # One side of a 95 % interval: 2.5 %, binomial standard error 1.1 % in 200 trials.
    assert simulated(rows_as_queries=False) <= 0.025 + 3 * 0.011
    assert simulated(rows_as_queries=True) > 0.15  # rows are not independent
    assert simulated(rows_as_queries=False, effect=1.0) > 0.95


def test_few_queries_decide_nothing():
    interval = bootstrap_mean(np.ones(1), samples=10, confidence=0.9, seed=0)
    assert interval == (-math.inf, math.inf)


def test_weights_are_those_of_the_mean():
    values = np.arange(400) % 2.0
    options = {"samples": 400, "confidence": 0.9, "seed": 1}
    even = bootstrap_mean(values, weights=np.ones(400), **options)
    assert even == pytest.approx(bootstrap_mean(values, **options), rel=1e-12)
    low, high = bootstrap_mean(values, weights=np.where(values > 0, 1.0, 3.0), **options)
    assert low < 0.25 < high < even[0] < 0.5


def test_the_signs_of_few_differences_are_counted():
    # Of 8 combinations of signs two are as large as 1 + 2 + 3, and four as 3 + 2 - 1.
    assert sign_test(np.array([1.0, 2.0, 3.0]), samples=20_000, seed=0) == pytest.approx(
        2 / 8, abs=0.015
    )
    assert sign_test(np.array([-1.0, 2.0, 3.0]), samples=20_000, seed=0) == pytest.approx(
        4 / 8, abs=0.015
    )
    assert sign_test(np.zeros(5), samples=10, seed=0) == 1.0


def test_the_signs_err_as_often_as_they_say():
    generator = np.random.default_rng(7)
    found = [
        sign_test(generator.normal(size=25), samples=300, seed=trial) <= 0.05
        for trial in range(200)
    ]
    # 5 %, binomial standard error 1.5 % in 200 trials.
    assert np.mean(found) <= 0.05 + 3 * 0.015
