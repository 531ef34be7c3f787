"""Plain-loop losses of embeddings, from the papers that the docstrings name.

Each takes embeddings `x` (rows, dimensions), a mask and a weight a row, and returns a
total and a count.
"""

import numpy as np

from tests.reference.complex_step import log_sum_exp, relu, softplus


def cosine(a, b):
    length = np.sqrt(sum(v * v for v in a)) * np.sqrt(sum(v * v for v in b))
    dot = sum(v * u for v, u in zip(a, b, strict=True))
    return dot / length if np.real(length) > 0 else 0.0 * dot


def distance(a, b, kind):
    if kind == "cosine":
        return 1.0 - cosine(a, b)
    squared = sum((v - u) ** 2 for v, u in zip(a, b, strict=True))
    return squared if kind == "squared_euclidean" else np.sqrt(squared)


def _gap(gap, margin):
    return softplus(gap) if margin is None else relu(gap + margin)


def triplet(x, mask, weight, *, distance_kind, margin, normalize):
    """`x`: anchors, positives and negatives, shape (3, rows, dimensions)."""
    total, count = 0.0, 0.0
    for i in range(x.shape[1]):
        if mask[i]:
            a, p, n = x[0, i], x[1, i], x[2, i]
            loss = _gap(distance(a, p, distance_kind) - distance(a, n, distance_kind), margin)
            total += weight[i] * loss
            count += weight[i] * (normalize == "triplets" or np.real(loss) > 0)
    return total, count


def _others(i, labels, mask):
    rows = [j for j in range(len(labels)) if j != i and mask[j]]
    same = [j for j in rows if labels[j] == labels[i]]
    return same, [j for j in rows if labels[j] != labels[i]]


def mined_triplet(x, labels, mask, weight, *, mining, distance_kind, margin, normalize):
    total, count = 0.0, 0.0
    for a in range(len(labels)):
        if not mask[a]:
            continue
        positives, negatives = _others(a, labels, mask)
        d = {j: distance(x[a], x[j], distance_kind) for j in positives + negatives}

        def size(j, d=d):
            return np.real(d[j])

        chosen = []
        if positives and negatives and mining == "hard":
            chosen = [(max(positives, key=size), min(negatives, key=size))]
        elif negatives and mining == "semihard":
            for p in positives:
                farther = [n for n in negatives if size(n) > size(p)]
                n = min(farther, key=size) if farther else max(negatives, key=size)
                chosen.append((p, n))
        elif mining == "all":
            chosen = [(p, n) for p in positives for n in negatives]
        for p, n in chosen:
            loss = _gap(d[p] - d[n], margin)
            total += weight[a] * loss
            count += weight[a] * (normalize == "triplets" or np.real(loss) > 0)
    return total, count


def contrastive(x, labels, mask, weight, *, distance_kind, margin, normalize):
    def loss(i, j, d):
        return d**2 if labels[i] == labels[j] else relu(margin - d) ** 2

    return _over_pairs(loss, x, mask, weight, distance_kind, normalize)


def margin_loss(x, labels, mask, weight, *, beta, distance_kind, margin, normalize):
    """`beta`: one a row."""

    def loss(i, j, d):
        sign = 1.0 if labels[i] == labels[j] else -1.0
        return relu(margin + sign * (d - beta[i]))

    return _over_pairs(loss, x, mask, weight, distance_kind, normalize)


def _over_pairs(pair_loss, x, mask, weight, distance_kind, normalize):
    total, count = 0.0, 0.0
    for i in range(len(mask)):
        for j in range(len(mask)):
            if i != j and mask[i] and mask[j]:
                loss = pair_loss(i, j, distance(x[i], x[j], distance_kind))
                total += weight[i] * loss
                count += weight[i] * (normalize == "pairs" or np.real(loss) > 0)
    return total, count


def multi_similarity(x, labels, mask, weight, *, alpha, beta, base, epsilon):
    total, count = 0.0, 0.0
    for i in range(len(labels)):
        if not mask[i]:
            continue
        positives, negatives = _others(i, labels, mask)
        s = {j: cosine(x[i], x[j]) for j in positives + negatives}
        if not (positives and negatives) and not (epsilon is None and s):
            continue
        if epsilon is not None:
            lowest = min(np.real(s[j]) for j in positives)
            highest = max(np.real(s[j]) for j in negatives)
            positives = [j for j in positives if np.real(s[j]) < highest + epsilon]
            negatives = [j for j in negatives if np.real(s[j]) > lowest - epsilon]
        loss = log_sum_exp([0.0] + [-alpha * (s[j] - base) for j in positives]) / alpha
        loss += log_sum_exp([0.0] + [beta * (s[j] - base) for j in negatives]) / beta
        total += weight[i] * loss
        count += weight[i]
    return total, count


def info_nce(x, mask, weight, *, temperature, similarity, ids, probability):
    """`x`: anchors and candidates, shape (2, rows, dimensions)."""
    total, count = 0.0, 0.0
    rows = range(x.shape[1])
    for i in rows:
        rivals = [j for j in rows if mask[j] and ids[j] != ids[i]]
        if not mask[i] or not rivals:
            continue
        logits = {}
        for j in [i, *rivals]:
            dot = sum(a * b for a, b in zip(x[0, i], x[1, j], strict=True))
            value = cosine(x[0, i], x[1, j]) if similarity == "cosine" else dot
            logits[j] = value / temperature - np.log(probability[j])
        total += weight[i] * (log_sum_exp(list(logits.values())) - logits[i])
        count += weight[i]
    return total, count


def supervised_contrastive(x, labels, mask, weight, *, temperature):
    total, count = 0.0, 0.0
    for i in range(len(labels)):
        if not mask[i]:
            continue
        positives, negatives = _others(i, labels, mask)
        if not positives:
            continue
        logits = {j: cosine(x[i], x[j]) / temperature for j in positives + negatives}
        normaliser = log_sum_exp(list(logits.values()))
        loss = sum(normaliser - logits[p] for p in positives) / len(positives)
        total += weight[i] * loss
        count += weight[i]
    return total, count


def nt_xent(x, mask, weight, *, temperature):
    """`x`: both views, shape (2, rows, dimensions). From the formula, not from SupCon."""
    rows = range(x.shape[1])
    views = [(k, i) for k in (0, 1) for i in rows if mask[i]]
    total, count = 0.0, 0.0
    for k, i in views:
        logits = {
            view: cosine(x[k, i], x[view]) / temperature for view in views if view != (k, i)
        }
        total += weight[i] * (log_sum_exp(list(logits.values())) - logits[(1 - k, i)])
        count += weight[i]
    return total, count
