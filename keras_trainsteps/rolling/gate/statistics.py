"""Statistics of scores by query, in NumPy: metrics, churn, drift, bootstrap."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Rows = list[npt.NDArray[np.int_]]


def rows_by_query(query_ids: npt.NDArray[Any]) -> Rows:
    """The rows of each query."""
    _, query = np.unique(query_ids, return_inverse=True)
    order = np.argsort(query, kind="stable")
    return np.split(order, np.cumsum(np.bincount(query))[:-1])


def ndcg(labels: Floats, scores: Floats, k: int = 10) -> float:
    """NDCG@k of one query, gains `2**label - 1`; ties share their ranks' discounts.

    NaN for a query without a positive label, which no order can be better for.
    """
    gains = 2.0 ** labels.astype("float64") - 1
    discounts = 1 / np.log2(np.arange(2, len(gains) + 2))
    discounts[k:] = 0
    best = float(np.sum(np.sort(gains)[::-1] * discounts))
    if best <= 0:
        return float("nan")
    values, group = np.unique(-scores, return_inverse=True)
    counts = np.bincount(group, minlength=len(values))
    ends = np.cumsum(counts)
    sums = np.concatenate([[0.0], np.cumsum(discounts)])
    shared = (sums[ends] - sums[ends - counts]) / counts
    return float(np.sum(gains * shared[group]) / best)


def pair_accuracy(labels: Floats, scores: Floats) -> float:
    """Share of a query's pairs of unequal labels that are in the right order; ties half.

    NaN for a query without such a pair.
    """
    better = labels[:, None] > labels[None, :]
    if not better.any():
        return float("nan")
    right = np.sign(scores[:, None] - scores[None, :])
    return float(np.mean((right[better] + 1) / 2))


def squared_error(labels: Floats, scores: Floats) -> float:
    """Mean squared error of one query."""
    return float(np.mean(np.square(labels.astype("float64") - scores)))


def top_overlap(old: Floats, new: Floats, k: int) -> float:
    """Share of the top `k` rows that two scores of a query have in common."""
    k = min(k, len(old))
    tops = [set(np.argsort(-scores, kind="stable")[:k].tolist()) for scores in (old, new)]
    return len(tops[0] & tops[1]) / k


def kendall_tau(old: Floats, new: Floats) -> float:
    """Kendall's tau-b of two scores of a query; NaN where one of them is constant."""
    left = np.sign(old[:, None] - old[None, :])
    right = np.sign(new[:, None] - new[None, :])
    norm = np.sqrt(np.sum(left != 0) * np.sum(right != 0))
    return float(np.sum(left * right) / norm) if norm else float("nan")


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
    """An interval of the mean of `values`, one a query, by drawing queries anew.

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
