"""Functions of weights for `WeightPenalty`, registered so that models with them are saved."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras import ops

_register = keras.saving.register_keras_serializable("keras_trainsteps.penalties")


@_register
def sum_of_norms(*weights: tf.Tensor) -> tf.Tensor:
    """The sum of the Euclidean norms of whole weights: `sum_w sqrt(sum_i w_i ** 2)`.

    Its gradient at a weight of zeros is 0.

    Example:

    >>> float(sum_of_norms(np.array([[3.0, 4.0]]), np.array([2.0])))
    7.0
    """
    return sum(_norm(weight, axis=None) for weight in weights)


@_register
def group_lasso(*weights: tf.Tensor) -> tf.Tensor:
    """The sum of the norms of the rows of weights: all that leaves one input is a group.

    ```
    sum_w sqrt(columns) * sum_i sqrt(sum_j w_ij ** 2)
    ```

    Axes beyond the first two, as of convolutions, are taken for rows. The gradient of a
    row of zeros is 0.

    Example:

    >>> float(group_lasso(np.array([[3.0], [-4.0]])))
    7.0

    Reference:
        Yuan and Lin, "Model selection and estimation in regression with grouped variables",
        2006.
    """
    return sum(
        float(weight.shape[-1]) ** 0.5 * ops.sum(_norm(weight, axis=-1)) for weight in weights
    )


@_register
def orthogonality(*weights: tf.Tensor) -> tf.Tensor:
    """How far the columns of weights are from orthonormal: `sum_w |w^T w - I| ** 2`.

    The norm is Frobenius's. For weights with more columns than rows `w w^T` is taken. Axes
    beyond the first two, as of convolutions, are taken for rows.

    Example:

    >>> float(orthogonality(np.array([[1.0, 0.0], [0.0, 2.0]])))
    9.0

    Reference:
        Brock, Lim, Ritchie and Weston, "Neural Photo Editing with Introspective
        Adversarial Networks", 2017.
    """
    total: Any = 0.0
    for weight in weights:
        matrix = ops.reshape(weight, (-1, weight.shape[-1]))
        if matrix.shape[0] < matrix.shape[1]:
            matrix = ops.transpose(matrix)
        gram = ops.matmul(ops.transpose(matrix), matrix)
        identity = ops.eye(matrix.shape[1], dtype=gram.dtype)
        total = total + ops.sum(ops.square(gram - identity))
    return total


@_register
def tying(first: tf.Tensor, *others: tf.Tensor) -> tf.Tensor:
    """How far weights of one shape are from the first: `sum_w sum_i (w_i - first_i) ** 2`.

    Example:

    >>> float(tying(np.array([1.0, 2.0]), np.array([1.0, 5.0])))
    9.0
    """
    return sum(ops.sum(ops.square(weight - first)) for weight in others)


def _norm(weight: Any, axis: int | None) -> Any:
    """Euclidean norms, with a gradient of 0 where they are 0."""
    weight = ops.convert_to_tensor(weight)
    squares = ops.sum(ops.square(weight), axis=axis)
    positive = squares > 0
    safe = ops.where(positive, squares, ops.ones_like(squares))
    return ops.where(positive, ops.sqrt(safe), ops.zeros_like(squares))
