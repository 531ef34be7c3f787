"""Penalties on weights, as plain loops over float64 numbers; complex numbers pass."""

import numpy as np


def norm(values):
    return np.sqrt(sum(value**2 for value in values))


def sum_of_norms(*weights):
    total = 0.0
    for weight in weights:
        total += norm(weight.reshape(-1))
    return total


def group_lasso(*weights):
    total = 0.0
    for weight in weights:
        for row in weight.reshape(-1, weight.shape[-1]):
            total += np.sqrt(weight.shape[-1]) * norm(row)
    return total


def orthogonality(*weights):
    total = 0.0
    for weight in weights:
        matrix = weight.reshape(-1, weight.shape[-1])
        if matrix.shape[0] < matrix.shape[1]:
            matrix = matrix.T
        columns = matrix.shape[1]
        for i in range(columns):
            for j in range(columns):
                dot = sum(matrix[k, i] * matrix[k, j] for k in range(matrix.shape[0]))
                total += (dot - (1.0 if i == j else 0.0)) ** 2
    return total


def tying(first, *others):
    total = 0.0
    for weight in others:
        for a, b in zip(weight.reshape(-1), first.reshape(-1), strict=True):
            total += (a - b) ** 2
    return total


def l2sp(coefficient, weights, starts):
    return coefficient / 2 * tying(np.concatenate(starts), np.concatenate(weights))
