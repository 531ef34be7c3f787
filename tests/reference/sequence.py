"""Plain-loop cross-entropy and accuracy of sequences."""

import numpy as np

from tests.reference.complex_step import log_sum_exp


def masked_crossentropy(
    y, z, mask, weight, *, smoothing, normalize, from_logits, spared=None, gamma=0.0
):
    """`weight`: a list a sequence, one entry a token, or a number a sequence."""
    total, count = 0.0, 0.0
    for b in range(len(y)):
        losses, weights = [], []
        for t in range(len(y[b])):
            if mask[b][t]:
                losses.append(token_loss(y[b][t], z[b][t], smoothing, from_logits, spared, gamma))
                weights.append(_token_weight(weight[b], t))
        if normalize == "tokens":
            total += sum(w * loss for w, loss in zip(weights, losses, strict=True))
            count += sum(weights)
        elif sum(weights):
            sequence = 1.0 if isinstance(weight[b], list) else weight[b]
            mean = sum(w * loss for w, loss in zip(weights, losses, strict=True))
            total += sequence * mean / sum(weights)
            count += sequence
    return total, count


def token_loss(y, z, smoothing, from_logits, spared=None, gamma=0.0):
    """`y`: a class, or a list of the probabilities of all."""
    classes = range(len(z))
    if from_logits:
        logs = [z[v] - log_sum_exp(list(z)) for v in classes]
    else:
        logs = [np.log(z[v]) for v in classes]
    loss = 0.0
    for v in classes:
        target = y[v] if isinstance(y, list) else 1.0 if v == y else 0.0
        others = len(z) - (spared is not None)
        share = (1.0 - smoothing) * target + (0.0 if v == spared else smoothing / others)
        if share:
            loss -= share * (1.0 - np.exp(logs[v])) ** gamma * logs[v]
    return loss


def token_accuracy(y, z, mask, weight):
    right, count = 0.0, 0.0
    for b in range(len(y)):
        for t in range(len(y[b])):
            if mask[b][t]:
                w = _token_weight(weight[b], t)
                right += w * (int(np.argmax(z[b][t])) == y[b][t])
                count += w
    return right / count if count else 0.0


def sequence_accuracy(y, z, mask, weight):
    right, count = 0.0, 0.0
    for b in range(len(y)):
        tokens = [
            int(np.argmax(z[b][t])) == y[b][t]
            for t in range(len(y[b]))
            if mask[b][t] and _token_weight(weight[b], t)
        ]
        if tokens:
            sequence = 1.0 if isinstance(weight[b], list) else weight[b]
            right += sequence * all(tokens)
            count += sequence
    return right / count if count else 0.0


def edits(first, second):
    """The fewest insertions, deletions and substitutions that make one list the other."""
    if not first or not second:
        return len(first) + len(second)
    if first[-1] == second[-1]:
        return edits(first[:-1], second[:-1])
    ways = (first[:-1], second), (first, second[:-1]), (first[:-1], second[:-1])
    return 1 + min(edits(*way) for way in ways)


def edit_distance(y, found, kept, found_kept, weight, *, normalize, end=None):
    """Edits by token of the references, or by sequence, of lists of ids."""
    total = count = 0.0
    for b in range(len(y)):
        wanted, given = (
            _until(end, [one for one, keep in zip(ids[b], keeps[b], strict=True) if keep])
            for ids, keeps in ((y, kept), (found, found_kept))
        )
        total += weight[b] * edits(given, wanted)
        exists = bool(wanted or given)
        count += weight[b] * (len(wanted) if normalize == "tokens" else exists)
    return total / count if count else np.inf if total else 0.0


def _until(end, ids):
    return ids[: ids.index(end)] if end in ids else ids


def _token_weight(weight, t):
    return weight[t] if isinstance(weight, list) else weight
