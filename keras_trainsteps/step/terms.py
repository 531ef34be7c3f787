"""A loss as a sum together with its denominator."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import keras
import tensorflow as tf

FAILED = "keras_trainsteps: "  # starts the message of a check that fails while running


class LossTerm(NamedTuple):
    """A sum of losses together with the count it is to be divided by.

    What is logged for an epoch is `sum(totals) / sum(counts)`, what several replicas
    train on is the same ratio over the replicas, so batches of different sizes weigh
    what they hold: pairs, tokens, triplets or rows.

    Args:
        total: Float tensor of shape `()`: the sum.
        count: Tensor of shape `()`, not negative: the denominator. It carries no
            gradient of its own unless it is built from trainable values.

    Example:

    >>> term = LossTerm(tf.constant(6.0), tf.constant(4.0))
    >>> float(term.value)
    1.5
    >>> float((term + LossTerm(tf.constant(0.0), tf.constant(2.0))).value)
    1.0
    """

    total: tf.Tensor
    count: tf.Tensor

    @property
    def value(self) -> tf.Tensor:
        """`total / count`; 0, with a gradient of 0, where `count` is 0."""
        return ratio(tf.convert_to_tensor(self.total), self.count)

    def __add__(self, other: Any) -> LossTerm:
        """The term of both sums: totals and counts are added."""
        if not isinstance(other, LossTerm):
            raise TypeError(
                "A `LossTerm` can only be added to a `LossTerm`. "
                f"Received: {type(other).__name__}. Use its `.value` for arithmetic."
            )
        return LossTerm(self.total + other.total, self.count + other.count)

    def __mul__(self, factor: Any) -> LossTerm:
        """The term times a number: the total is scaled, the count stays."""
        if isinstance(factor, LossTerm):
            raise TypeError(
                "A `LossTerm` can only be multiplied by a number or a scalar tensor. "
                "Received: LossTerm. Use its `.value` for arithmetic."
            )
        return LossTerm(self.total * factor, self.count)

    def __rmul__(self, factor: Any) -> LossTerm:
        return self * factor


class QueryTerm(LossTerm):
    """A term that compares the rows of queries, and knows whether there were any to compare.

    Attributes:
        query_sizes: The number of queries of one row, and of those of more; shape `(2,)`.
            `None` where it is not known.
    """

    query_sizes: tf.Tensor | None = None

    @classmethod
    def of(cls, term: LossTerm, query_sizes: tf.Tensor | None) -> QueryTerm:
        """`term` with the sizes of its queries."""
        made = cls(*term)
        made.query_sizes = query_sizes
        return made

    def __add__(self, other: Any) -> LossTerm:
        term = super().__add__(other)
        sizes = self.query_sizes, getattr(other, "query_sizes", None)
        if sizes[0] is None or sizes[1] is None:
            return term  # the other may well learn from single rows
        return QueryTerm.of(term, sizes[0] + sizes[1])

    def __mul__(self, factor: Any) -> QueryTerm:
        return QueryTerm.of(super().__mul__(factor), self.query_sizes)


class StepTerm(NamedTuple):
    """A named loss of one step, reduced: what the step adds up, trains on and logs.

    Attributes:
        name: What it is logged as.
        term: Its sum and denominator on this replica.
        value: Its value on this replica.
        by_rows: Whether epochs average it by rows, as Keras does, and not by its count.
        weight: Its loss weight: a number, a variable, or `None` for 1.
        source: Where it comes from.
    """

    name: str
    term: LossTerm
    value: tf.Tensor
    by_rows: bool
    weight: Any = None
    source: Literal["compile", "hook", "added"] = "hook"

    def of_epoch(self, rows: tf.Tensor) -> LossTerm:
        """What a batch of so many rows adds to the sums of an epoch."""
        if not self.by_rows:
            return LossTerm(*(tf.cast(part, tf.float64) for part in self.term))
        value = tf.reduce_mean(self.value)  # a loss with `reduction=None` has many
        rows = tf.cast(rows, value.dtype)
        return LossTerm(value * rows, rows)


def ratio(total: tf.Tensor, count: Any) -> tf.Tensor:
    """`total / count`; 0, with a gradient of 0, where `count` is 0, but what is NaN stays NaN.

    Rows of weight 0 add nothing to the count; a NaN in one of them is in the gradient.
    """
    value = tf.math.divide_no_nan(total, tf.cast(count, total.dtype))
    return tf.where(tf.math.is_finite(total), value, total)


def reduce_returned(
    name: str,
    returned: Any,
    *,
    rows: tf.Tensor,
    sample_weight: tf.Tensor | None,
    row_mask: tf.Tensor | None = None,
) -> StepTerm:
    """Reduces what `compute_losses` returned under `name`.

    A `LossTerm` keeps its own denominator. A tensor of one or more axes is reduced as
    Keras's `sum_over_batch_size`, `sum(sample_weight * values) / size(values)`. A scalar
    is the value of the batch and weighs as its rows. Rows that `row_mask` leaves out count
    nowhere.
    """
    if isinstance(returned, LossTerm):
        term = LossTerm(*map(tf.convert_to_tensor, returned))
        if isinstance(returned, QueryTerm):
            term = QueryTerm.of(term, returned.query_sizes)
        if not term.total.dtype.is_floating or any(
            part.shape.rank not in (0, None) for part in term
        ):
            raise ValueError(
                f"Loss term {name!r}: `total` must be a float scalar and `count` a scalar. "
                f"Received: shapes {tuple(term.total.shape)} and {tuple(term.count.shape)}, "
                f"total of dtype {term.total.dtype.name}. Sum both over the batch."
            )
        return StepTerm(name, term, as_loss(term.value), False)
    values = _as_tensor(name, returned)
    if values.shape.rank == 0:
        value = as_loss(values)
        counted = tf.cast(rows, value.dtype)
        return StepTerm(name, LossTerm(value * counted, counted), value, True)
    values = as_loss(values)
    if sample_weight is not None:
        values = values * weights_like(
            as_loss(sample_weight), values.shape, f"loss term {name!r}"
        )
    term = over_size(values, row_mask)  # divided as in Keras, which fixes its last bit under XLA
    return StepTerm(name, term, tf.math.divide_no_nan(*term), True)


def over_size(values: tf.Tensor, row_mask: tf.Tensor | None = None) -> LossTerm:
    """The mean over all values, as Keras's `sum_over_batch_size` computes it.

    `row_mask`: which rows count; default: all.
    """
    if row_mask is not None:
        rows = tf.reshape(row_mask, (-1, *[1] * (values.shape.rank - 1)))
        counted = tf.broadcast_to(rows, tf.shape(values))
        total = tf.reduce_sum(tf.where(rows, values, tf.zeros_like(values)))
        return LossTerm(total, tf.reduce_sum(tf.cast(counted, total.dtype)))
    total = tf.reduce_sum(values)
    return LossTerm(total, tf.cast(tf.size(values), total.dtype))


def as_loss(value: tf.Tensor) -> tf.Tensor:
    """`value` in the dtype of losses: Keras's `floatx`, never narrower than float32."""
    dtype = tf.as_dtype(keras.config.floatx())
    return tf.cast(value, dtype if dtype.size >= 4 else tf.float32)


def named_loss(value: tf.Tensor, name: str) -> tf.Tensor:
    """A value for `model.losses` that is logged under `name`."""
    value = tf.identity(value)
    value._loss_name = name
    return value


def loss_name(value: Any) -> str | None:
    """The name that one of `model.losses` is logged under; `None` without one."""
    return getattr(value, "_loss_name", None)


def _as_tensor(name: str, returned: Any) -> tf.Tensor:
    try:
        values = tf.convert_to_tensor(returned)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"Loss term {name!r} must be a `LossTerm`, a tensor of one value per row, or a "
            f"scalar. Received: {type(returned).__name__}."
        ) from error
    if not values.dtype.is_floating:
        values = tf.cast(values, tf.float32)
    return values


def weights_like(sample_weight: tf.Tensor, shape: tf.TensorShape, of: str) -> tf.Tensor:
    """Weights with the axes of values of this shape: the axes that they lack are the last ones.

    Left to broadcast, one weight per row beside values of `(rows, steps)` would be one per
    step where both numbers agree.

    Raises:
        ValueError: Where the weights' shape is not the beginning of that of the values.
    """
    weights = sample_weight
    if shape.rank is None or weights.shape.rank is None:
        return weights
    while weights.shape.rank > shape.rank and weights.shape[-1] == 1:
        weights = tf.squeeze(weights, -1)
    sizes = zip(weights.shape, shape, strict=False)
    if weights.shape.rank > shape.rank or any(
        one not in (None, 1) and other is not None and one != other for one, other in sizes
    ):
        raise ValueError(
            f"`sample_weight` must have one weight per row of {of}, or one per value. "
            f"Received: shape {tuple(sample_weight.shape)} for values of shape {tuple(shape)}."
        )
    while weights.shape.rank < shape.rank:
        weights = tf.expand_dims(weights, -1)
    return weights
