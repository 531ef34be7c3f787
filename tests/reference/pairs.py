"""Pair sums as plain loops over pairs, in float64."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Reference(NamedTuple):
    totals: np.ndarray  # (num_queries,)
    counts: np.ndarray  # (num_queries,)
    gradient: np.ndarray  # (rows,): of the sum of all totals
    magnitude: np.ndarray  # (rows,): the sum of the absolute values the gradient adds up


def softplus(x):
    return max(x, 0.0) + np.log1p(np.exp(-abs(x)))


def sigmoid(x):
    return 1 / (1 + np.exp(-x)) if x >= 0 else np.exp(x) / (1 + np.exp(x))


def pair_term(kernel, d, label_d, pairs):
    """A pair's term and its derivative with respect to `d`."""
    if kernel == "LOGISTIC" and pairs in ("preference", "ordered"):
        return softplus(-d), -sigmoid(-d)
    if kernel == "LOGISTIC":
        # sigmoid cross-entropy of `d` with target t, -t log p - (1 - t) log(1 - p)
        target = 0.5 * (1 + min(max(label_d, -1.0), 1.0))
        term = target * softplus(-d) + (1 - target) * softplus(d)
        return term, -target * sigmoid(-d) + (1 - target) * sigmoid(d)
    if kernel == "HINGE":
        return max(0.0, 1 - d), -float(d < 1)
    if kernel == "SQUARED_HINGE":
        return max(0.0, 1 - d) ** 2, -2 * max(0.0, 1 - d)
    if kernel == "SQUARED_ERROR":
        return (d - label_d) ** 2, 2 * (d - label_d)
    if kernel == "SOFT_ZERO_ONE":
        return sigmoid(-d), -sigmoid(-d) * sigmoid(d)
    raise KeyError(kernel)


def pair_sums(
    kernel,
    y_true,
    y_pred,
    query,
    num_queries,
    *,
    pairs="preference",
    row_weight=None,
    pair_weight="product",
    factor=None,
):
    """The sums of `kernel` (its name); `factor(i, j)` takes row numbers."""
    y = np.asarray(y_true, np.float64)
    s = np.asarray(y_pred, np.float64)
    w = np.ones(len(s)) if row_weight is None else np.asarray(row_weight, np.float64)
    totals, counts = np.zeros(num_queries), np.zeros(num_queries)
    gradient, magnitude = np.zeros(len(s)), np.zeros(len(s))
    for i in range(len(s)):
        for j in range(len(s)):
            if i == j or query[i] < 0 or query[i] != query[j]:
                continue
            if pairs == "preference" and not y[i] > y[j]:
                continue
            if pair_weight == "product":
                weight = w[i] * w[j]
            elif y[i] == y[j]:
                weight = (w[i] + w[j]) / 2
            else:
                weight = w[i] if y[i] > y[j] else w[j]
            term, slope = pair_term(kernel, s[i] - s[j], y[i] - y[j], pairs)
            scale = weight if factor is None else weight * factor(i, j)
            totals[query[i]] += scale * term
            counts[query[i]] += weight
            gradient[i] += scale * slope
            gradient[j] -= scale * slope
            magnitude[i] += abs(scale * slope)
            magnitude[j] += abs(scale * slope)
    return Reference(totals, counts, gradient, magnitude)


def pair_sums_by_blocks(
    kernel, y_true, y_pred, query, num_queries, *, pairs, row_weight, pair_weight="product"
):
    """`pair_sums`, a block of rows at a time: for long queries."""
    y, s, w = (np.asarray(x, np.float64) for x in (y_true, y_pred, row_weight))
    query, rows = np.asarray(query), np.arange(len(s))
    totals, counts = np.zeros(num_queries), np.zeros(num_queries)
    gradient, magnitude = np.zeros(len(s)), np.zeros(len(s))
    for start in range(0, len(s), 256):
        i = rows[start : start + 256]
        i = i[query[i] >= 0]
        d, label_d = s[i, None] - s, y[i, None] - y
        weight = w[i, None] * w
        if pair_weight == "preferred":
            even = 0.5 * (w[i, None] + w)
            weight = np.where(label_d == 0, even, np.where(label_d > 0, w[i, None], w))
        weight = weight * (query[i, None] == query) * (i[:, None] != rows)
        if pairs == "preference":
            weight = weight * (label_d > 0)
        term, slope = _pair_terms(kernel, d, label_d, pairs)
        slope = slope * weight
        np.add.at(totals, query[i], (term * weight).sum(1))
        np.add.at(counts, query[i], weight.sum(1))
        gradient[i] += slope.sum(1)
        gradient -= slope.sum(0)
        magnitude[i] += np.abs(slope).sum(1)
        magnitude += np.abs(slope).sum(0)
    return Reference(totals, counts, gradient, magnitude)


def _pair_terms(kernel, d, label_d, pairs):
    """`pair_term` of arrays."""
    if kernel == "LOGISTIC":
        small = np.exp(-np.abs(d))
        wrong = np.where(d > 0, small, 1) / (1 + small)  # sigmoid(-d)
        right = np.where(d > 0, 1, small) / (1 + small)
        loss = np.maximum(-d, 0) + np.log1p(small)  # softplus(-d)
        if pairs == "preference":
            return loss, -wrong
        target = 0.5 * (1 + np.clip(label_d, -1, 1))
        other = np.maximum(d, 0) + np.log1p(small)
        return target * loss + (1 - target) * other, (1 - target) * right - target * wrong
    if kernel == "SOFT_ZERO_ONE":
        small = np.exp(-np.abs(d))
        wrong = np.where(d > 0, small, 1) / (1 + small)  # sigmoid(-d)
        return wrong, -small / (1 + small) ** 2
    if kernel == "SQUARED_ERROR":
        return (d - label_d) ** 2, 2 * (d - label_d)
    margin = np.maximum(1 - d, 0)
    if kernel == "HINGE":
        return margin, -1.0 * (d < 1)
    if kernel == "SQUARED_HINGE":
        return margin**2, -2 * margin
    raise KeyError(kernel)
