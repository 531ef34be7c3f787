"""A registry, and one with a version."""

import pytest

from keras_trainsteps.rolling import ModelRegistry
from tests.rolling.registry.days import publish


@pytest.fixture
def registry(tmp_path):
    return ModelRegistry(tmp_path / "models")


@pytest.fixture
def weights(registry):
    """The one file of version 1."""
    return registry.directory / str(publish(registry)) / "data" / "weights.bin"
