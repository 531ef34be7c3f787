"""What every benchmark shares: interleaved runs, and tables that name the machine."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

BLOCK = 0.05


class Times(NamedTuple):
    """Of many runs: the median, the fastest, and the one that nine of ten do not exceed."""

    median: float
    fastest: float
    slowest: float

    def __str__(self) -> str:
        return f"{shown(self.median)} ({shown(self.fastest)} to {shown(self.slowest)})"


def times_of(values: Iterable[float]) -> Times:
    low, median, high = np.percentile(list(values), [0, 50, 90])
    return Times(float(median), float(low), float(high))


def interleaved(functions: Mapping[str, Callable[[], Any]], seconds: float = 2.0) -> dict:
    """Milliseconds of each. In each round each runs for `BLOCK` seconds, at least once.

    Rounds, so that noise of the machine falls on all alike; blocks, so that a short run is
    not measured by the caches that a long one has left behind. What is called must wait for
    its result.
    """
    for run in functions.values():
        run()
    found: dict[str, list[float]] = {name: [] for name in functions}
    rounds, until = 0, time.perf_counter() + seconds
    while time.perf_counter() < until or rounds < 5:
        rounds += 1
        for name, run in functions.items():
            end_of_block = time.perf_counter() + BLOCK
            end = 0.0
            while end < end_of_block:
                start = time.perf_counter()
                run()
                end = time.perf_counter()
                found[name].append(1e3 * (end - start))
    return {name: times_of(values) for name, values in found.items()}


def shown(value: float) -> str:
    """Three digits."""
    digits = 3 if value < 1 else 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:,.{digits}f}"


def machine() -> str:
    """Where figures come from: processor, cores, load, graphics card, versions."""
    import keras
    import tensorflow as tf

    names = [platform.processor() or platform.machine()]
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    devices = [
        tf.config.experimental.get_device_details(device).get("device_name", device.name)
        for device in tf.config.list_physical_devices("GPU")
    ]
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return (
        f"{names[0]}, {os.cpu_count()} cores{load}; {', '.join(devices) or 'no GPU'}; Python "
        f"{platform.python_version()}, TensorFlow {tf.__version__}, Keras {keras.__version__}"
    )


def print_table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A table in Markdown, row by row as they come."""
    print("| " + " | ".join(header) + " |")
    print("|" + "---|" * len(header), flush=True)
    for row in rows:
        print(
            "| " + " | ".join("" if cell is None else str(cell) for cell in row) + " |",
            flush=True,
        )
    print(flush=True)


def report(title: str, found: Mapping[str, Times], beside: str | None = None) -> None:
    """A table of times, and the ratios to those of `beside`: of medians, and of the fastest."""
    base = found.get(beside)

    def rows() -> Iterable[list[Any]]:
        for name, times in found.items():
            ratios: list[Any] = []
            if base is not None:
                medians, fastest = times.median / base.median, times.fastest / base.fastest
                ratios = [f"{shown(medians)} ({shown(fastest)})"]
            yield [name, times, *ratios]

    print_table([title, "ms"] + ([f"of {beside}"] if base is not None else []), rows())
