"""Plain-loop listwise losses of one query, from the papers that the docstrings name.

Each returns the query's loss and whether the query has anything to learn from.
"""

import numpy as np

from tests.reference.complex_step import log_sum_exp, sigmoid

GAINS = {"exponential": lambda y: 2.0**y - 1.0, "linear": lambda y: y}
DISCOUNTS = {"log2": lambda rank: 1 / np.log2(1 + rank), "reciprocal": lambda rank: 1 / rank}


def worth_at_rank(y, s, w, weight):
    """What each row adds to DCG@k by its rank, or to NDCG@k."""
    gain = GAINS[weight.gains]
    discounts = [
        DISCOUNTS[weight.discount](rank) if weight.k is None or rank <= weight.k else 0.0
        for rank in range(1, len(y) + 1)
    ]
    order = sorted(range(len(y)), key=lambda i: -np.real(s[i]))
    best = 1.0
    if type(weight).__name__ == "NDCG":
        ideal = sorted((gain(label) for label in y), reverse=True)
        best = sum(g * d for g, d in zip(ideal, discounts, strict=True)) or 1.0
    return [w[i] * gain(y[i]) * discounts[order.index(i)] / best for i in range(len(y))]


def softmax(y, s, w, *, labels="given"):
    if not isinstance(labels, str):
        p = worth_at_rank(y, s, w, labels)
    elif labels == "softmax":
        p = [w[i] * np.exp(y[i] - log_sum_exp(list(y))) for i in range(len(y))]
    else:
        p = [w[i] * y[i] for i in range(len(y))]
        if labels == "normalized" and sum(p) > 0:
            p = [value / sum(p) for value in p]
    loss = 0.0
    for i in range(len(y)):
        loss += p[i] * (log_sum_exp(list(s)) - s[i])
    return loss, sum(p) > 0


def unique_softmax(y, s, w, *, gains="exponential"):
    worth = GAINS[gains]
    loss, gains = 0.0, 0.0
    for i in range(len(y)):
        gain = w[i] * worth(y[i])
        lower = [s[j] for j in range(len(y)) if y[j] < y[i]]
        loss += gain * (log_sum_exp([s[i], *lower]) - s[i])
        gains += gain
    return loss, gains > 0


def list_mle(y, s, w, *, position_discount=None):
    order = sorted(range(len(y)), key=lambda i: -y[i])  # ties in the order of the rows
    loss = 0.0
    for place, i in enumerate(order):
        left = 1.0 if position_discount is None else DISCOUNTS[position_discount](place + 1)
        loss += w[i] * left * (log_sum_exp([s[j] for j in order[place:]]) - s[i])
    return loss, len(y) > 1


def soft_rank(s, i, temperature):
    rank = 1.0
    for j in range(len(s)):
        if j != i:
            rank += sigmoid((s[j] - s[i]) / temperature)
    return rank


def approx_ndcg(y, s, w, *, temperature=0.1):
    gains = [w[i] * (2.0 ** y[i] - 1.0) for i in range(len(y))]
    best = 0.0
    for place, gain in enumerate(sorted(gains, reverse=True)):
        best += gain / np.log2(2.0 + place)
    if best == 0:
        return 0.0, False
    dcg = 0.0
    for i in range(len(y)):
        dcg += gains[i] * np.log(2.0) / np.log(1.0 + soft_rank(s, i, temperature))
    return -dcg / best, True


def approx_mrr(y, s, w, *, temperature=0.1):
    relevance = sum(w[i] * y[i] for i in range(len(y)))
    if relevance == 0:
        return 0.0, False
    reciprocal = 0.0
    for i in range(len(y)):
        reciprocal += w[i] * y[i] / soft_rank(s, i, temperature)
    return -reciprocal / relevance, True


def over_queries(loss, y, s, ids, mask, weight, query_weight, normalize, weigh="rows", **options):
    """The total and the count of a batch of flat rows; `query_weight` one a row."""
    total, count = 0.0, 0.0
    for query in dict.fromkeys(ids):
        rows = [i for i in range(len(ids)) if ids[i] == query and mask[i]]
        if not rows:
            continue
        w = [weight[i] for i in rows]
        of_query = query_weight[rows[0]]
        if weigh == "relevant":
            worth = sum(y[i] for i in rows)
            of_query *= sum(weight[i] * y[i] for i in rows) / worth if worth else 0.0
            w = [1.0] * len(rows)
        value, informative = loss([y[i] for i in rows], [s[i] for i in rows], w, **options)
        total += of_query * value
        counts = {"queries": float(informative), "lists": 1.0, "rows": sum(w)}
        count += of_query * counts[normalize]
    return total, count
