"""Lambda weights as plain formulas of two rows of a query, in float64."""

from __future__ import annotations

import numpy as np


def ranks(s):
    """Ranks from 1 by descending score; ties keep the order of the rows."""
    order = sorted(range(len(s)), key=lambda i: -s[i])
    return {row: rank + 1 for rank, row in enumerate(order)}


def _discount(rank, topn):
    return 1 / np.log2(1 + rank) if topn is None or rank <= topn else 0.0


def _gain(y):
    return 2.0**y - 1


def _best(y, topn):
    return sum(_gain(v) * _discount(r + 1, topn) for r, v in enumerate(sorted(y, reverse=True)))


def label_difference(y, s, i, j, topn=None):
    return abs(y[i] - y[j])


def dcg(y, s, i, j, topn=None):
    r = ranks(s)
    return abs(_gain(y[i]) - _gain(y[j])) * abs(_discount(r[i], topn) - _discount(r[j], topn))


def ndcg(y, s, i, j, topn=None):
    best = _best(y, topn)
    return dcg(y, s, i, j, topn) / best if best else 0.0


def ndcg2(y, s, i, j, topn=None):
    r, best = ranks(s), _best(y, topn)
    if not best or (topn is not None and min(r[i], r[j]) > topn):
        return 0.0
    k = abs(r[i] - r[j])
    change = 1 / np.log2(1 + k) - 1 / np.log2(2 + k)
    return abs(_gain(y[i]) - _gain(y[j])) * change / best


def precision(y, s, i, j, topn):
    r = ranks(s)
    one_relevant = (y[i] > 0) != (y[j] > 0)
    one_within = (r[i] <= topn) != (r[j] <= topn)
    return float(one_relevant and one_within) / topn
