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
    return value([y[i] for i in sorted(range(len(s)), key=lambda i: -s[i])], **options)


def average(value, y, s, **options):
    """The mean of the values of one query over all orders of equal scores."""
    found = [value(list(labels), **options) for labels in orders(y, s)]
    return None if found[0] is None else float(np.mean(found))


def orders(y, s):
    """The labels from the best score down, once for each order of equal scores."""
    runs = [
        itertools.permutations([label for label, of in zip(y, s, strict=True) if of == score])
        for score in sorted(set(s), reverse=True)
    ]
    for parts in itertools.product(*runs):
        yield itertools.chain.from_iterable(parts)


def without_relevant(no_relevant):
    return {"zero": 0.0, "one": 1.0, "skip": None}[no_relevant]


def exponential(label):
    return 2**label - 1


def log2(rank):
    return 1 / np.log2(1 + rank)


def dcg(labels, *, k=None, gain=exponential, discount=log2, no_relevant="zero"):
    if not any(gain(label) > 0 for label in labels):
        return without_relevant(no_relevant)
    ranked = enumerate(labels[:k], start=1)
    return float(sum(gain(label) * discount(rank) for rank, label in ranked))


def ndcg(labels, *, k=None, gain=exponential, discount=log2, no_relevant="zero"):
    options = {"k": k, "gain": gain, "discount": discount}
    best = dcg(sorted(labels, key=gain, reverse=True), **options)
    return dcg(labels, **options) / best if best else without_relevant(no_relevant)


def mrr(labels, *, k=None, no_relevant="zero"):
    if not any(label > 0 for label in labels):
        return without_relevant(no_relevant)
    return next((1 / rank for rank, y in enumerate(labels[:k], start=1) if y > 0), 0.0)


def hit_rate(labels, *, k, no_relevant="zero"):
    if not any(label > 0 for label in labels):
        return without_relevant(no_relevant)
    return float(any(label > 0 for label in labels[:k]))


def precision(labels, *, k, normalize="k", no_relevant="zero"):
    if not any(label > 0 for label in labels):
        return without_relevant(no_relevant)
    rows = k if normalize == "k" else min(k, len(labels))
    return sum(label > 0 for label in labels[:k]) / rows


def recall(labels, *, k, no_relevant="zero"):
    relevant = sum(label > 0 for label in labels)
    if not relevant:
        return without_relevant(no_relevant)
    return sum(label > 0 for label in labels[:k]) / relevant


def average_precision(labels, *, k=None, normalize="relevant", no_relevant="zero"):
    relevant = sum(label > 0 for label in labels)
    if not relevant:
        return without_relevant(no_relevant)
    total = 0.0
    for rank, label in enumerate(labels[:k], start=1):
        if label > 0:
            total += sum(y > 0 for y in labels[:rank]) / rank
    reachable = relevant if k is None else min(relevant, k)
    return total / (relevant if normalize == "relevant" else reachable)


def arp(labels):
    if not any(labels):
        return None
    ranked = enumerate(labels, start=1)
    return sum(rank * label for rank, label in ranked) / sum(labels)


def pair_accuracy(y, s):
    right = pairs = 0.0
    for i in range(len(y)):
        for j in range(len(y)):
            if y[i] > y[j]:
                pairs += 1
                right += 1.0 if s[i] > s[j] else 0.5 if s[i] == s[j] else 0.0
    return right / pairs if pairs else None


def auc(y, s):
    return pair_accuracy([float(label > 0) for label in y], s)
