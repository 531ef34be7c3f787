"""Random configurations: every weight and every log against float64."""

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.fuzz.check import differences
from tests.fuzz.configurations import configurations

SEED, SHARDS, OF_A_SHARD = 20, 20, 100


def tried(number, examples):
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
    @given(configurations())
    def run(configuration):
        assert differences(configuration) == [], configuration

    return run


def test_some_configurations_give_what_float64_gives():
    tried(SEED, 5)()


@pytest.mark.slow
@pytest.mark.parametrize("shard", range(SHARDS))
def test_random_configurations_give_what_float64_gives(shard):
    tried(1000 * SEED + shard, OF_A_SHARD)()
