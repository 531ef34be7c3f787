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


def similarity_of(a, b, kind):
    if kind == "cosine":
        return cosine(a, b)
    if kind == "squared_euclidean":
        return -distance(a, b, kind)
    return sum(v * u for v, u in zip(a, b, strict=True))


def _against_negatives(positives, negatives, decoupled):
    """The mean over the logits of positives, each of which competes with all negatives."""
    losses = [
        log_sum_exp(negatives if decoupled else [positive, *negatives]) - positive
        for positive in positives
    ]
    return sum(losses) / len(losses)


def info_nce(
    x,
    mask,
    weight,
    *,
    temperature,
    similarity="cosine",
    ids=None,
    probability=None,
    queries=None,
    negatives=None,
    negative_ids=None,
    negative_mask=None,
    negative_count=None,
    decoupled=False,
):
    """`x`: anchors and candidates, shape (2, rows, dimensions).

    `negatives`, their ids and mask: a list for each row.
    """
    total, count = 0.0, 0.0
    rows = range(x.shape[1])
    queries = list(rows) if queries is None else queries
    for i in rows:
        if not mask[i]:
            continue
        positives = [j for j in rows if j == i or (mask[j] and queries[j] == queries[i])]
        hits = [] if ids is None else [ids[j] for j in positives]
        rivals = [
            j
            for j in rows
            if mask[j] and j not in positives and (ids is None or ids[j] not in hits)
        ]
        logits = {}
        for j in positives + rivals:
            logits[j] = similarity_of(x[0, i], x[1, j], similarity) / temperature
            logits[j] -= 0.0 if probability is None else np.log(probability[j])
        against = [logits[j] for j in rivals]
        for k in range(0 if negatives is None else len(negatives[i])):
            hit = negative_ids is not None and negative_ids[i][k] in hits
            if not hit and (negative_mask is None or negative_mask[i][k]):
                logit = similarity_of(x[0, i], negatives[i][k], similarity) / temperature
                against.append(
                    logit - (0.0 if negative_count is None else np.log(negative_count[i][k]))
                )
        if against:
            loss = _against_negatives([logits[j] for j in positives], against, decoupled)
            total += weight[i] * loss
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


def nt_xent(x, mask, weight, *, temperature, similarity="cosine", classes=None, decoupled=False):
    """`x`: both views, shape (2, rows, dimensions). From the formula, not from SupCon."""
    total, count = 0.0, 0.0
    rows = range(x.shape[1])
    classes = list(rows) if classes is None else classes
    views = [(k, i) for k in (0, 1) for i in rows if mask[i]]
    for k, i in views:
        positives, negatives = [], []
        for view in views:
            if view != (k, i):
                same = classes[view[1]] == classes[i]
                logit = similarity_of(x[k, i], x[view], similarity) / temperature
                (positives if same else negatives).append(logit)
        if negatives:
            total += weight[i] * _against_negatives(positives, negatives, decoupled)
        count += weight[i] * bool(negatives)
    return total, count
