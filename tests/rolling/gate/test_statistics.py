"""Overlap and drift of scores."""

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
