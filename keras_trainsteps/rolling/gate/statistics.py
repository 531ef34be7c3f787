"""Statistics of scores, in NumPy: errors, churn, drift."""

from __future__ import annotations

import numpy as np

from keras_trainsteps.metrics.bootstrap import Floats


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
