"""Exact gradients of the references, which are written so that complex numbers pass.

The imaginary part of f(x + ih) is h f'(x) without any subtraction, so that h can be so
small that the result is exact to rounding (Squire and Trapp, "Using Complex Variables to
Estimate Derivatives of Real Functions", 1998). Comparisons look at real parts only.
"""

import numpy as np

STEP = 1e-30


def gradient(function, x):
    """The gradient of a real `function` of a float64 array, of the shape of `x`."""
    x = np.asarray(x, np.float64)
    result = np.zeros(x.shape)
    for index in np.ndindex(*x.shape):
        moved = x.astype(np.complex128)
        moved[index] += STEP * 1j
        result[index] = np.imag(function(moved)) / STEP
    return result


def softplus(x):
    """log(1 + exp(x))."""
    if np.real(x) > 0:
        return x + np.log1p(np.exp(-x))
    return np.log1p(np.exp(x))


def sigmoid(x):
    """1 / (1 + exp(-x))."""
    if np.real(x) >= 0:
        return 1 / (1 + np.exp(-x))
    return np.exp(x) / (1 + np.exp(x))


def relu(x):
    """max(0, x)."""
    return x if np.real(x) > 0 else 0.0 * x


def log_sum_exp(values):
    """log(sum(exp(values))), of at least one value."""
    top = max(np.real(value) for value in values)
    return top + np.log(sum(np.exp(value - top) for value in values))
