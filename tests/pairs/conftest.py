"""What the tests of the pair sums share."""

import pytest

from keras_trainsteps.pairs import sums, traced


@pytest.fixture
def untraced(monkeypatch):
    """Eager sums run operation by operation, so that what is replaced in a module is seen."""
    monkeypatch.setattr(sums, "sums_of_rows", traced.untraced_sums)
