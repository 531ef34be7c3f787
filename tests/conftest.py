"""Settings of every test process."""

import gc
import itertools
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "default",
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    derandomize=True,
)
settings.load_profile("default")


_tests = itertools.count(1)


@pytest.fixture(autouse=True)
def seeded():
    """Every test starts from the same random state and without earlier models."""
    keras.backend.clear_session(free_memory=False)
    keras.utils.set_random_seed(7)
    yield
    # Collecting garbage after every test would take as long as the tests.
    if next(_tests) % 25 == 0:
        gc.collect()


@pytest.fixture(autouse=True, scope="module")
def collected():
    """What a file leaves open fails that file, and not the test that happens to come next."""
    yield
    gc.collect()
