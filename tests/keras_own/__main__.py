"""`python -m tests.keras_own` prints how many of Keras's tests give the same on our models."""

import argparse
import collections
import sys

from tests.keras_own.differences import REASONS
from tests.keras_own.running import FOLDERS, compared, modules_in

parser = argparse.ArgumentParser()
parser.add_argument("--all", action="store_true", help="all of Keras, and not models alone")
parser.add_argument("--only", help="as `-k` of pytest")
parser.add_argument("--shard", default=12, type=int, help="modules in a process")
parser.add_argument("--one-by-one", action="store_true", help="one process at a time")
parser.add_argument("modules", nargs="*", help="such as models/model_test.py")
given = parser.parse_args()
modules = given.modules or modules_in(*(() if given.all else FOLDERS))
table = collections.defaultdict(collections.Counter)
differences = []
for first in range(0, len(modules), given.shard):
    shard = modules[first : first + given.shard]
    for test in compared(shard, only=given.only, log=sys.stderr, parallel=not given.one_by_one):
        row = table[test.name.split("/")[0]]
        row["tests"] += 1
        row["with a model"] += test.built
        row["equal"] += not test.difference
        row["equal, with a model"] += test.built and not test.difference
        row["fail in Keras, too"] += test.outcome in ("failed", "not collected")
        if test.difference:
            differences.append(test)
            reason = REASONS.get(test.name, "NOT KNOWN")
            print(f"{test.name}\n    {reason}\n    {test.difference[:600]}", flush=True)
columns = ["tests", "with a model", "equal", "equal, with a model", "fail in Keras, too"]
print("| folder |", " | ".join(columns), "|")
print("|---" * (len(columns) + 1) + "|")
for folder, row in sorted(table.items()):
    print(f"| {folder} |", " | ".join(str(row[column]) for column in columns), "|")
total = sum(table.values(), collections.Counter())
print("| all |", " | ".join(str(total[column]) for column in columns), "|")
