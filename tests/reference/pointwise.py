"""Plain-loop pointwise losses of one query: the sum over its rows, or their mean."""

from tests.reference.complex_step import softplus


def sigmoid_crossentropy(y, s, w, *, mean=False):
    return _reduce([softplus(s[i]) - y[i] * s[i] for i in range(len(y))], w, mean)


def mean_squared_error(y, s, w, *, mean=False):
    return _reduce([(s[i] - y[i]) ** 2 for i in range(len(y))], w, mean)


def _reduce(losses, w, mean):
    total, weights = 0.0, 0.0
    for i in range(len(w)):
        total += w[i] * losses[i]
        weights += w[i]
    if mean and weights:
        total /= weights
    return total, weights > 0
