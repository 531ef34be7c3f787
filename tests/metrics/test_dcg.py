"""Gains that do not grow with the label."""

import pytest

from keras_trainsteps.metrics import NDCG
from tests.reference import ranking


def distance_from_2(labels):
    return (labels - 2) ** 2


@pytest.mark.parametrize("k", [None, 1, 2])
def test_the_ideal_ranking_is_by_gains(k):
    labels, scores = [0.0, 1.0, 2.0, 3.0], [1.0, 4.0, 3.0, 2.0]
    metric = NDCG("q", k=k, gains=distance_from_2)
    metric.update_state(labels, scores, query_ids=[7, 7, 7, 7])
    # From the best score down the gains are 1, 0, 1, 4; from the best gain 4, 1, 1, 0.
    expected = ranking.ndcg([1.0, 2.0, 3.0, 0.0], k=k, gains=distance_from_2)
    assert float(metric.result()) == pytest.approx(expected, rel=1e-12)
