"""Settings of every test process."""

import gc
import itertools
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
if "PYTEST_XDIST_WORKER" in os.environ:  # as many processes as cores, of one thread each
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")

import keras
import pytest
from hypothesis import HealthCheck, is_hypothesis_test, settings

# What was imported stays, so that no collection of garbage need look at it.
gc.collect()
gc.freeze()

for profile, examples in (("default", 12), ("slow", 40)):
    settings.register_profile(
        profile,
        deadline=None,
        max_examples=examples,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
        derandomize=True,
    )


def pytest_configure(config):
    """`-m slow` runs all tests by examples again, on more of them."""
    settings.load_profile("slow" if in_slow_run(config) else "default")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    if in_slow_run(config):
        for item in items:
            test = getattr(item, "obj", None)
            if is_hypothesis_test(test) or getattr(test, "by_examples", False):
                item.add_marker(pytest.mark.slow)


def in_slow_run(config):
    return config.getoption("markexpr") == "slow"


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
    gc.freeze()  # what is left is held by modules; later collections need not look at it
