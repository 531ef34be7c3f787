"""Ranking metrics as plain loops, in float64.

A metric of ranks is a function of a query's labels from the best score down; a value of
`None` does not count.
"""

from __future__ import annotations

import itertools

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


def stable(value, y, s, **options):
    """The value of one query, equal scores in the order of the rows."""
    options |= not_retrieved(s)
    return value([y[i] for i in sorted(range(len(s)), key=lambda i: -s[i])], **options)


def average(value, y, s, **options):
    """The mean of the values of one query over all orders of equal scores."""
    options |= not_retrieved(s)
    found = [value(list(labels), **options) for labels in orders(y, s)]
    return None if found[0] is None else float(np.mean(found))


def not_retrieved(s):
    """How many rows have a rank, where some do not: those with a score of minus infinity."""
    retrieved = sum(score > -np.inf for score in s)
    return {} if retrieved == len(s) else {"retrieved": retrieved}


def relevant_from(value, lowest):
    """A value of labels 0 and 1 as one of grades."""

    def of_grades(labels, *scores, **options):
        return value([float(label >= lowest) for label in labels], *scores, **options)

    return of_grades


def orders(y, s):
    """The labels from the best score down, once for each order of equal scores."""
    runs = [
        itertools.permutations([label for label, of in zip(y, s, strict=True) if of == score])
        for score in sorted(set(s), reverse=True)
    ]
    for parts in itertools.product(*runs):
        yield itertools.chain.from_iterable(parts)


def ranked(labels, k=None, retrieved=None):
    """The labels that have a rank of at most `k`."""
    return labels[:retrieved][:k]


def without_relevant(no_relevant):
    return {"zero": 0.0, "one": 1.0, "skip": None}[no_relevant]


def exponential(label):
    return 2**label - 1


def log2(rank):
    return 1 / np.log2(1 + rank)


def reciprocal(rank):
    return 1 / rank


def dcg(
    labels,
    *,
    k=None,
    gains=exponential,
    discount=log2,
    no_relevant="zero",
    retrieved=None,
):
    if not any(gains(label) > 0 for label in labels):
        return without_relevant(no_relevant)
    places = enumerate(ranked(labels, k, retrieved), start=1)
    return float(sum(gains(label) * discount(rank) for rank, label in places))


def ndcg(
    labels,
    *,
    k=None,
    gains=exponential,
    discount=log2,
    no_relevant="zero",
    retrieved=None,
):
    options = {"k": k, "gains": gains, "discount": discount}
    best = dcg(sorted(labels, key=gains, reverse=True), **options)
    if not best:
        return without_relevant(no_relevant)
    return dcg(labels, **options, retrieved=retrieved) / best


def mrr(labels, *, k=None, no_relevant="zero", retrieved=None):
    if not any(label > 0 for label in labels):
        return without_relevant(no_relevant)
    places = enumerate(ranked(labels, k, retrieved), start=1)
    return next((1 / rank for rank, y in places if y > 0), 0.0)


def hits(labels, k, retrieved):
    return sum(label > 0 for label in ranked(labels, k, retrieved))


def hit_rate(labels, *, k, no_relevant="zero", retrieved=None):
    if not any(label > 0 for label in labels):
        return without_relevant(no_relevant)
    return float(hits(labels, k, retrieved) > 0)


def precision(labels, *, k, normalize="k", no_relevant="zero", retrieved=None):
    if not any(label > 0 for label in labels):
        return without_relevant(no_relevant)
    rows = k if normalize == "k" else len(ranked(labels, k, retrieved))
    return hits(labels, k, retrieved) / rows if rows else 0.0


def recall(labels, *, k, no_relevant="zero", retrieved=None):
    relevant = sum(label > 0 for label in labels)
    if not relevant:
        return without_relevant(no_relevant)
    return hits(labels, k, retrieved) / relevant


def r_precision(labels, *, no_relevant="zero", retrieved=None):
    relevant = sum(label > 0 for label in labels)
    return recall(labels, k=relevant, no_relevant=no_relevant, retrieved=retrieved)


def f1(labels, *, k, no_relevant="zero", retrieved=None):
    options = {"k": k, "no_relevant": no_relevant, "retrieved": retrieved}
    p, r = precision(labels, **options), recall(labels, **options)
    if not any(label > 0 for label in labels):
        return p
    return 2 * p * r / (p + r) if p + r else 0.0


def average_precision(
    labels, *, k=None, normalize="relevant", no_relevant="zero", retrieved=None
):
    relevant = sum(label > 0 for label in labels)
    if not relevant:
        return without_relevant(no_relevant)
    total = 0.0
    for rank, label in enumerate(ranked(labels, k, retrieved), start=1):
        if label > 0:
            total += sum(y > 0 for y in labels[:rank]) / rank
    reachable = relevant if k is None else min(relevant, k)
    return total / (relevant if normalize == "relevant" else reachable)


def bpref(labels, *, no_relevant="zero", retrieved=None):
    relevant = sum(label > 0 for label in labels)
    if not relevant:
        return without_relevant(no_relevant)
    others, above, total = len(labels) - relevant, 0, 0.0
    for label in ranked(labels, None, retrieved):
        if label > 0:
            total += 1 - min(above, relevant) / min(others, relevant) if above else 1.0
        else:
            above += 1
    return total / relevant


def rbp(labels, *, k=None, persistence=0.8, no_relevant="zero", retrieved=None):
    if not any(label > 0 for label in labels):
        return without_relevant(no_relevant)
    places = enumerate(ranked(labels, k, retrieved))
    return (1 - persistence) * sum(persistence**place for place, y in places if y > 0)


def err(labels, *, highest_label, k=None, no_relevant="zero", retrieved=None):
    if not any(label > 0 for label in labels):
        return without_relevant(no_relevant)
    total, goes_on = 0.0, 1.0
    for rank, label in enumerate(ranked(labels, k, retrieved), start=1):
        stops = (2**label - 1) / 2**highest_label
        total += goes_on * stops / rank
        goes_on *= 1 - stops
    return total


def arp(labels, retrieved=None):
    if not any(labels):
        return None
    places = enumerate(labels, start=1)
    return sum(rank * label for rank, label in places) / sum(labels)


def ordered_pairs(y, s):
    """How many pairs of different labels are in the right order, and how many there are."""
    right = pairs = 0.0
    for i in range(len(y)):
        for j in range(len(y)):
            if y[i] > y[j]:
                pairs += 1
                right += 1.0 if s[i] > s[j] else 0.5 if s[i] == s[j] else 0.0
    return right, pairs


def pair_accuracy(y, s):
    right, pairs = ordered_pairs(y, s)
    return right / pairs if pairs else None


def auc(y, s):
    return pair_accuracy([float(label > 0) for label in y], s)


def kendall_tau(y, s):
    balance = by_label = by_score = 0
    for i in range(len(y)):
        for j in range(i):
            signs = np.sign(y[i] - y[j]), np.sign(s[i] - s[j])
            balance += signs[0] * signs[1]
            by_label += signs[0] != 0
            by_score += signs[1] != 0
    if not by_label:
        return None
    return float(balance / np.sqrt(by_label * by_score)) if by_score else 0.0


def spearman_rho(y, s):
    def mean_ranks(values):
        return [
            sum(other > value for other in values)
            + (1 + sum(other == value for other in values)) / 2
            for value in values
        ]

    a, b = mean_ranks(y), mean_ranks(s)
    middle = (len(y) + 1) / 2
    joint = sum((u - middle) * (v - middle) for u, v in zip(a, b, strict=True))
    spread_a, spread_b = (sum((u - middle) ** 2 for u in ranks) for ranks in (a, b))
    if not spread_a:
        return None
    return joint / np.sqrt(spread_a * spread_b) if spread_b else 0.0
