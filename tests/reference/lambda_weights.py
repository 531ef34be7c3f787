"""Lambda weights as plain formulas of two rows of a query, in float64."""

from __future__ import annotations

import numpy as np


def ranks(s):
    """Ranks from 1 by descending score; ties keep the order of the rows."""
    order = sorted(range(len(s)), key=lambda i: -s[i])
    return {row: rank + 1 for rank, row in enumerate(order)}


def exponential(y):
    return 2.0**y - 1


def log2(rank):
    return 1 / np.log2(1 + rank)


def _worth(y, w, gains):
    return [gains(label) * weight for label, weight in zip(y, w or [1.0] * len(y), strict=True)]


def _within(discount, rank, k):
    return discount(rank) if k is None or rank <= k else 0.0


def _best(worth, k, discount):
    ranked = enumerate(sorted(worth, reverse=True), start=1)
    return sum(value * _within(discount, rank, k) for rank, value in ranked)


def label_difference(y, s, i, j, k=None):
    return abs(y[i] - y[j])


def arp1(y, s, i, j):
    return y[i]


def dcg(y, s, i, j, k=None, gains=exponential, discount=log2, w=None):
    r, g = ranks(s), _worth(y, w, gains)
    return abs(g[i] - g[j]) * abs(_within(discount, r[i], k) - _within(discount, r[j], k))


def ndcg(y, s, i, j, k=None, gains=exponential, discount=log2, w=None):
    best = _best(_worth(y, w, gains), k, discount)
    return dcg(y, s, i, j, k, gains, discount, w) / best if best else 0.0


def dcg2(y, s, i, j, k=None, gains=exponential, discount=log2, w=None):
    r, g = ranks(s), _worth(y, w, gains)
    if k is not None and min(r[i], r[j]) > k:
        return 0.0
    apart = abs(r[i] - r[j])
    return abs(g[i] - g[j]) * (discount(apart) - discount(apart + 1))


def ndcg2(y, s, i, j, k=None, gains=exponential, discount=log2, w=None):
    best = _best(_worth(y, w, gains), k, discount)
    return dcg2(y, s, i, j, k, gains, discount, w) / best if best else 0.0


def dcg1(y, s, i, j, k=None, gains=exponential, discount=log2, w=None):
    return _worth(y, w, gains)[i] * _within(discount, ranks(s)[i], k)


def ndcg1(y, s, i, j, k=None, gains=exponential, discount=log2, w=None):
    best = _best(_worth(y, w, gains), k, discount)
    return dcg1(y, s, i, j, k, gains, discount, w) / best if best else 0.0


def yeti_dcg(y, s, i, j, k=None, gains=exponential, discount=log2, w=None):
    r, g = ranks(s), _worth(y, w, gains)
    if abs(r[i] - r[j]) != 1:
        return 0.0
    lower = max(r[i], r[j])
    beyond = 1.0 if k is None or lower <= k else 1 / (1 - discount(lower))
    return abs(g[i] - g[j]) * (discount(1) - discount(2)) * beyond


def precision(y, s, i, j, k, relevant_from=None):
    r = ranks(s)
    relevant = [label > 0 if relevant_from is None else label >= relevant_from for label in y]
    one_within = (r[i] <= k) != (r[j] <= k)
    return float(relevant[i] != relevant[j] and one_within) / k
