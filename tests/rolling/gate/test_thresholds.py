"""What thresholds demand, and what makes no sense."""

import pytest

from keras_trainsteps.rolling import ChangeThreshold, ValueThreshold


def test_bad_thresholds_are_refused():
    with pytest.raises(ValueError, match="needs `lower`, `upper` or both"):
        ValueThreshold("ndcg")
    with pytest.raises(ValueError, match="`direction` must be"):
        ChangeThreshold("ndcg", direction="up")
    with pytest.raises(ValueError, match="`max_loss` must not be negative"):
        ChangeThreshold("ndcg", max_loss=-1)
