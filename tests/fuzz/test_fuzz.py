"""Random configurations: every weight and every log against float64."""

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.fuzz.check import differences
from tests.fuzz.configurations import configurations

SEED = 20
# 212 in all; `python -m tests.fuzz` tries as many as it is told.
SHARDS = [("eager", 80)] * 2 + [("graph", 40)] + [("xla", 12)]


def tried(number, mode, examples):
    """A test of so many random configurations."""

    @seed(number)
    @settings(
        max_examples=examples,
        derandomize=False,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(configurations(mode))
    def run(configuration):
        assert differences(configuration) == [], configuration

    return run


def test_some_configurations_give_what_float64_gives():
    tried(SEED, "eager", 4)()


@pytest.mark.slow
@pytest.mark.parametrize("shard", range(len(SHARDS)))
def test_random_configurations_give_what_float64_gives(shard):
    tried(1000 * SEED + shard, *SHARDS[shard])()
