"""Ranking metrics as plain loops, in float64."""

from __future__ import annotations

import numpy as np


def by_query(value, y, s, ids, mask=None, weight=None):
    """The mean of `value(labels, scores)` over queries; a value of `None` does not count."""
    total = count = 0.0
    for query in dict.fromkeys(ids):
        rows = [i for i in range(len(y)) if ids[i] == query and (mask is None or mask[i])]
        found = value([float(y[i]) for i in rows], [float(s[i]) for i in rows]) if rows else None
        if found is not None:
            share = 1.0 if weight is None else sum(float(weight[i]) for i in rows) / len(rows)
            total += share * found
            count += share
    return total / count if count else 0.0


def ndcg(y, s, *, k=None, no_relevant="zero"):
    def dcg(order):
        ranked = order[: len(order) if k is None else k]
        return sum((2 ** y[i] - 1) / np.log2(2 + rank) for rank, i in enumerate(ranked))

    best = dcg(sorted(range(len(y)), key=lambda i: -y[i]))
    if best == 0:
        return {"zero": 0.0, "one": 1.0, "skip": None}[no_relevant]
    return dcg(sorted(range(len(s)), key=lambda i: -s[i])) / best


def pair_accuracy(y, s):
    right = pairs = 0.0
    for i in range(len(y)):
        for j in range(len(y)):
            if y[i] > y[j]:
                pairs += 1
                right += 1.0 if s[i] > s[j] else 0.5 if s[i] == s[j] else 0.0
    return right / pairs if pairs else None
