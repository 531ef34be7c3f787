"""Interleaved timing: every contender runs in each round, so that noise falls on all alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

BLOCK = 0.02


class Time(NamedTuple):
    """Milliseconds of one call."""

    least: float
    median: float

    def __str__(self) -> str:
        return f"{self.least:9.3f} {self.median:9.3f}"


def times(
    functions: Mapping[str, Callable[[], Any]], seconds: float = 2.0, rounds: int = 5
) -> dict[str, Time]:
    """Least and median milliseconds of a call of each function.

    In each round every function runs for `BLOCK` seconds, at least once: a short run is not
    measured by the caches that a long one has left behind.
    """
    for run in functions.values():
        run()
        run()
    found: dict[str, list[float]] = {name: [] for name in functions}
    done, until = 0, time.perf_counter() + seconds
    while time.perf_counter() < until or done < rounds:
        done += 1
        for name, run in functions.items():
            end_of_block = time.perf_counter() + BLOCK
            while True:
                start = time.perf_counter()
                run()
                end = time.perf_counter()
                found[name].append(1e3 * (end - start))
                if end > end_of_block:
                    break
    return {name: Time(min(all_), statistics.median(all_)) for name, all_ in found.items()}


def report(title: str, found: Mapping[str, Time], beside: str | None = None) -> None:
    """Prints least and median milliseconds, and the ratios of both to those of `beside`."""
    print(f"\n{title}")
    for name, time_ in found.items():
        ratio = ""
        if beside in found:
            base = found[beside]
            ratio = f"   {time_.least / base.least:6.2f} {time_.median / base.median:6.2f}"
        print(f"  {name:<34}{time_}{ratio}", flush=True)
