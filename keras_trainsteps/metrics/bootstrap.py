"""How sure a mean over queries is: an interval by drawing queries anew, a test by signs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]


def bootstrap_mean(
    values: Floats,
    *,
    samples: int,
    confidence: float,
    seed: int,
    weights: Floats | None = None,
) -> tuple[float, float]:
    """An interval of the mean of `values`, one per query, by drawing queries anew.

    Percentiles, widened by `sqrt(n / (n - 1))` and Student's t over the normal quantile
    (approximately), without which intervals of few queries are too short.

    Args:
        values: One number per query.
        samples: How often queries are drawn.
        confidence: Of the interval, two-sided, between 0 and 1.
        seed: Of the draws.
        weights: What each query weighs in the mean. Default: 1 each.
    """
    count = len(values)
    if count < 2:
        return float("-inf"), float("inf")

    def mean_of(drawn: npt.NDArray[np.int_]) -> Floats:
        found: Floats
        if weights is None:
            found = values[drawn].mean(axis=1)
        else:
            found = (values * weights)[drawn].sum(axis=1) / weights[drawn].sum(axis=1)
        return found

    means = _drawn(
        lambda generator, size: mean_of(generator.integers(0, count, (size, count))),
        count,
        samples,
        seed,
    )
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    mean = float(np.average(values, weights=weights))
    widen = np.sqrt(count / (count - 1)) * (1 + 1 / (count - 1))
    return mean + (low - mean) * widen, mean + (high - mean) * widen


def sign_test(differences: Floats, *, samples: int, seed: int) -> float:
    """How probable so large a mean is, of either sign, if each difference had any sign.

    Fisher's randomization test of paired differences: `(1 + as large) / (1 + samples)`.
    """
    observed = abs(float(differences.sum()))

    def flipped(generator: np.random.Generator, size: int) -> Floats:
        signs = 2.0 * generator.integers(0, 2, (size, len(differences))) - 1
        found: Floats = np.abs(signs @ differences)
        return found

    sums = _drawn(flipped, len(differences), samples, seed)
    tolerance = 1e-12 * float(np.abs(differences).sum())  # sums of another order
    return float((1 + np.sum(sums >= observed - tolerance)) / (1 + samples))


def _drawn(
    draw: Callable[[np.random.Generator, int], Floats], count: int, samples: int, seed: int
) -> Floats:
    """So many draws, in blocks of bounded memory."""
    generator = np.random.default_rng(seed)
    found = np.empty(samples)
    block = max(1, 4_000_000 // max(count, 1))
    for start in range(0, samples, block):
        size = min(block, samples - start)
        found[start : start + size] = draw(generator, size)
    return found
