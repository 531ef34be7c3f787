"""Pairwise losses as plain loops over queries and pairs, in float64."""

from __future__ import annotations

import numpy as np

from tests.reference.pairs import pair_term


def pairwise_logistic(y, s, ids, mask=None, weight=None, **options):
    """Total and count, as `losses.pairwise_logistic` defines them."""
    total, count, _, _ = pairwise("LOGISTIC", y, s, ids, mask, weight, **options)
    return total, count


def pairwise(
    kernel,
    y,
    s,
    ids,
    mask=None,
    weight=None,
    *,
    query_weight=None,
    pairs="preference",
    pair_weight="product",
    factor=None,
    normalize="pairs",
    temperature=1.0,
    epsilon=0.0,
):
    """Total, count, gradient of the total, and the magnitudes that either adds up.

    `factor(labels, scores, i, j)` is the lambda weight of two rows of one query.
    """
    y, s = np.asarray(y, np.float64), np.asarray(s, np.float64)
    rows = [i for i in range(len(y)) if mask is None or mask[i]]
    w = np.ones(len(y)) if weight is None else np.asarray(weight, np.float64)
    gradient, magnitude = np.zeros(len(y)), np.zeros(len(y))
    total = count = 0.0
    for query in {ids[i] for i in rows}:
        members = [i for i in rows if ids[i] == query]
        labels, scores = [y[i] for i in members], [s[i] for i in members]
        q_total = q_count = 0.0
        q_gradient, q_magnitude = np.zeros(len(y)), np.zeros(len(y))
        for i in members:
            for j in members:
                if i == j or (pairs == "preference" and y[i] <= y[j]):
                    continue
                if pair_weight == "product":
                    v = w[i] * w[j]
                elif pair_weight == "first":
                    v = w[i]
                else:
                    v = w[i] if y[i] > y[j] else w[j] if y[j] > y[i] else (w[i] + w[j]) / 2
                d = (s[i] - s[j]) / temperature
                term, slope = pair_term(kernel, d, y[i] - y[j], pairs)
                q_count += v
                if factor is not None:
                    v *= factor(labels, scores, members.index(i), members.index(j))
                q_total += v * term
                for row, sign in ((i, 1), (j, -1)):
                    q_gradient[row] += sign * v * slope / temperature
                    q_magnitude[row] += abs(v * slope) / temperature
        scale = 1.0
        if normalize == "queries":
            scale = 1 / q_count if q_count else 0.0
            q_count = float(q_count > 0)
        elif normalize == "rows":
            q_count = len(members)
        if query_weight is not None:
            scale *= query_weight[members[0]]
            q_count *= query_weight[members[0]]
        total += scale * q_total
        count += q_count
        gradient += scale * q_gradient
        magnitude += scale * q_magnitude
    return total, count + epsilon * (count > 0), gradient, magnitude
