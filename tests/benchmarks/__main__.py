"""All benchmarks whose tables the documentation shows, in less than ten minutes.

    python -m tests.benchmarks

Each is a process of its own, and each can be run alone, with more of it than here.
"""

from __future__ import annotations

import subprocess
import sys
import time

PARTS = [
    ("step",),
    ("first_step", "Softmax", "PairwiseLogistic", "ListMLE"),
    ("input",),
    ("pairs", "--quick"),
    ("memory", "--quick"),
    ("rolling",),
    ("train", "--seconds", "12"),
]


def main() -> None:
    begin = time.perf_counter()
    for name, *options in PARTS:
        print(f"## {name}\n", flush=True)
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", f"tests.benchmarks.{name}", *options], check=True)
        print(f"({time.perf_counter() - start:.0f} s)\n", flush=True)
    print(f"all of it: {(time.perf_counter() - begin) / 60:.1f} minutes")


if __name__ == "__main__":
    main()
