"""Values that other libraries print in their documentation."""

import pytest

from keras_trainsteps import metrics
from keras_trainsteps.metrics import MAP

# The example of torchmetrics' retrieval metrics: ranks of what is relevant are 1; 2 and 3.
LABELS = [0, 0, 1, 0, 1, 0, 1]
SCORES = [0.2, 0.3, 0.5, 0.1, 0.3, 0.5, 0.2]
INDEXES = [0, 0, 0, 1, 1, 1, 1]


@pytest.mark.parametrize(
    ("metric", "published", "by_hand"),
    [
        (MAP("q"), 0.7917, (1 + (1 / 2 + 2 / 3) / 2) / 2),
        (metrics.RecallAtK("q", k=2), 0.75, (1 + 1 / 2) / 2),
        (metrics.RPrecision("q"), 0.75, (1 + 1 / 2) / 2),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_torchmetrics(metric, published, by_hand):
    metric.update_state(LABELS, SCORES, query_ids=INDEXES)
    assert float(metric.result()) == pytest.approx(by_hand, rel=1e-12)
    assert round(by_hand, 4) == published
