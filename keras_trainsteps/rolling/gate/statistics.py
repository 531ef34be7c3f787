"""Statistics of scores, in NumPy: errors, churn, drift, bootstrap."""

from __future__ import annotations

import numpy as np

from keras_trainsteps.rolling.gate.queries import Floats


def squared_error(labels: Floats, scores: Floats) -> float:
    """Mean squared error of one query."""
    return float(np.mean(np.square(labels.astype("float64") - scores)))


def top_overlap(old: Floats, new: Floats, k: int) -> float:
    """Share of the top `k` rows that two scores of a query have in common."""
    k = min(k, len(old))
    tops = [set(np.argsort(-scores, kind="stable")[:k].tolist()) for scores in (old, new)]
    return len(tops[0] & tops[1]) / k


def stability_index(old: Floats, new: Floats, bins: int = 10) -> float:
    """Population stability index of `new` scores over the deciles of `old` ones.

    `sum((p - q) * log(p / q))` over the bins, of shares with half a row added to each.
    """
    edges = np.unique(np.quantile(old, np.linspace(0, 1, bins + 1)[1:-1]))
    shares = []
    for scores in (old, new):
        counts = np.bincount(np.searchsorted(edges, scores, "right"), minlength=len(edges) + 1)
        shares.append((counts + 0.5) / (len(scores) + 0.5 * len(counts)))
    p, q = shares
    return float(np.sum((q - p) * np.log(q / p)))


def bootstrap_mean(
    values: Floats, *, samples: int, confidence: float, seed: int
) -> tuple[float, float]:
    """An interval of the mean of `values`, one per query, by drawing queries anew.

    Percentiles, widened by `sqrt(n / (n - 1))` and Student's t over the normal quantile
    (approximately), without which intervals of few queries are too short.
    """
    count = len(values)
    if count < 2:
        return float("-inf"), float("inf")
    generator = np.random.default_rng(seed)
    means = np.empty(samples)
    block = max(1, 4_000_000 // count)
    for start in range(0, samples, block):
        size = min(block, samples - start)
        drawn = generator.integers(0, count, (size, count))
        means[start : start + size] = values[drawn].mean(axis=1)
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    mean = float(values.mean())
    widen = np.sqrt(count / (count - 1)) * (1 + 1 / (count - 1))
    return mean + (low - mean) * widen, mean + (high - mean) * widen
