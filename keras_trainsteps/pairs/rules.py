"""Which pairs are summed, what each weighs, and the fields of the rows that decide it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import tensorflow as tf

from .kernels import PairKernel, Term

Fields = dict[str, tf.Tensor]


class PairFactor(NamedTuple):
    """A factor on every pair that depends on more than the labels and scores.

    It is how lambda weights are given. To the gradient the factor is a constant.

    Args:
        function: `function(i, j) -> factor`, where `i` and `j` are dicts with the same
            keys as `fields`; the values of `i` broadcast as `(..., rows, 1)`, those of
            `j` as `(..., 1, rows)`, in float64. For `pairs="all"` it must be symmetric.
        fields: What the function needs to know of each row, each of shape `(rows,)`.

    Example:

    >>> import tensorflow as tf
    >>> gain = tf.constant([3.0, 1.0, 0.0])
    >>> factor = PairFactor(lambda i, j: abs(i["gain"] - j["gain"]), {"gain": gain})
    """

    function: Callable[[Fields, Fields], tf.Tensor]
    fields: Mapping[str, Any]


class PairRule(NamedTuple):
    """What is summed.

    Attributes:
        kernel: The kind of loss.
        ties: Whether pairs of equal labels are summed, and each pair in both orders.
        weighted: Whether rows have weights.
        by_preferred: Whether a pair weighs what its higher-labelled row weighs, rather
            than the product of both weights.
        factor: The function of a `PairFactor`, or `None`.
        precision: float32 or float64: the dtype whose accuracy is wanted.
    """

    kernel: PairKernel
    ties: bool
    weighted: bool
    by_preferred: bool
    factor: Callable[[Fields, Fields], tf.Tensor] | None
    precision: tf.DType

    @property
    def term(self) -> Term:
        """The kernel's term for the pairs of this rule."""
        if self.ties:
            assert self.kernel.all_pairs is not None  # `pair_sums` refuses the others
            return self.kernel.all_pairs
        return self.kernel.preference


class PairRows(NamedTuple):
    """Fields of rows, float64, all of one shape `(..., rows)`.

    Attributes:
        label: Labels. A label that is not a number is in no pair: so padding is marked.
        score: Scores, finite.
        weight: Weights, or `None` for 1 each.
        fields: The fields of the `PairFactor`.
    """

    label: tf.Tensor
    score: tf.Tensor
    weight: tf.Tensor | None
    fields: Fields

    def weights(self) -> tf.Tensor:
        """The weights, 1 each where there are none."""
        return tf.ones_like(self.score) if self.weight is None else self.weight

    def pack(self) -> tf.Tensor:
        """All fields side by side, `(rows, fields)`, so that one gather moves them all."""
        values = [self.label, self.score, *self.fields.values()]
        if self.weight is not None:
            values.insert(2, self.weight)
        return tf.stack(values, axis=-1)

    def unpack(self, packed: tf.Tensor) -> PairRows:
        """The rows of a tensor `(..., fields)` that was taken from `pack()`."""
        values = tf.unstack(packed, axis=-1)
        label, score = values[:2]
        weight = None if self.weight is None else values[2]
        rest = values[2:] if self.weight is None else values[3:]
        return PairRows(label, score, weight, dict(zip(self.fields, rest, strict=True)))
