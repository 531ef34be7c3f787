"""Queries that a ranker can learn in a moment, and NDCG of them by a plain loop."""

import math

import numpy as np


def toy(queries=60, seed=0):
    """Features, grades from 0 to 2, and ids that are not sorted."""
    rng = np.random.default_rng(seed)
    qid = rng.permutation(np.repeat(np.arange(queries) * 7 - 3, 6))
    X = rng.normal(size=(len(qid), 4)) * [1, 10, 100, 1] + [0, 5, 0, 1000]
    signal = X[:, 0] + 0.05 * X[:, 1] + 0.3 * rng.normal(size=len(qid))
    return X, np.digitize(signal, [0.5, 1.2]).astype(float), qid


def mean_ndcg(y, scores, qid, k=10, weights=None):
    """A weighted mean over queries; 0 of a query without a relevant row."""
    total = weight = 0.0
    for query in sorted(set(qid.tolist())):
        rows = [i for i in range(len(y)) if qid[i] == query]
        best_first = sorted(rows, key=lambda i: -scores[i])
        ideal = sorted((y[i] for i in rows), reverse=True)
        dcg = sum((2 ** y[i] - 1) / math.log2(2 + r) for r, i in enumerate(best_first[:k]))
        best = sum((2**label - 1) / math.log2(2 + r) for r, label in enumerate(ideal[:k]))
        of_query = 1.0 if weights is None else sum(weights[i] for i in rows) / len(rows)
        total += of_query * (dcg / best if best else 0.0)
        weight += of_query
    return total / weight
