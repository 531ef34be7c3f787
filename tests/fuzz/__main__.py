"""Tries random configurations and prints what differs: `python -m tests.fuzz --seed 1`."""

import argparse
import collections
import time

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.fuzz.check import differences
from tests.fuzz.configurations import configurations

parser = argparse.ArgumentParser()
parser.add_argument("--seed", default=1, type=int)
parser.add_argument("--count", default=100, type=int)
parser.add_argument("--mode", default="eager", choices=["eager", "graph", "xla"])
given_options = parser.parse_args()
counts = collections.Counter()


@seed(given_options.seed)
@settings(
    max_examples=given_options.count,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(configurations(given_options.mode))
def run(configuration):
    try:
        found = differences(configuration)
    except Exception as error:
        found = [f"{type(error).__name__}: {error}"]
    counts["configurations"] += 1
    if found:
        counts["differ"] += 1
        print(configuration)
        for line in found[:4]:
            print("   ", line[:700], flush=True)


start = time.process_time()
run()
print(dict(counts), f"{time.process_time() - start:.0f} s of CPU")
