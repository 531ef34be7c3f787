"""Lambda weights as plain formulas of two rows of a query, in float64."""

from __future__ import annotations

import numpy as np


def ranks(s):
    """Ranks from 1 by descending score; ties keep the order of the rows."""
    order = sorted(range(len(s)), key=lambda i: -s[i])
    return {row: rank + 1 for rank, row in enumerate(order)}


def _discount(rank, k):
    return 1 / np.log2(1 + rank) if k is None or rank <= k else 0.0


def _gain(y):
    return 2.0**y - 1


def _best(y, k):
    return sum(_gain(v) * _discount(r + 1, k) for r, v in enumerate(sorted(y, reverse=True)))


def label_difference(y, s, i, j, k=None):
    return abs(y[i] - y[j])


def dcg(y, s, i, j, k=None):
    r = ranks(s)
    return abs(_gain(y[i]) - _gain(y[j])) * abs(_discount(r[i], k) - _discount(r[j], k))


def ndcg(y, s, i, j, k=None):
    best = _best(y, k)
    return dcg(y, s, i, j, k) / best if best else 0.0


def ndcg2(y, s, i, j, k=None):
    r, best = ranks(s), _best(y, k)
    if not best or (k is not None and min(r[i], r[j]) > k):
        return 0.0
    apart = abs(r[i] - r[j])
    change = 1 / np.log2(1 + apart) - 1 / np.log2(2 + apart)
    return abs(_gain(y[i]) - _gain(y[j])) * change / best


def precision(y, s, i, j, k):
    r = ranks(s)
    one_relevant = (y[i] > 0) != (y[j] > 0)
    one_within = (r[i] <= k) != (r[j] <= k)
    return float(one_relevant and one_within) / k
