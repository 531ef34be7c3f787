"""The sums of a pairwise loss over the pairs of each query, with their gradient."""

from __future__ import annotations

from typing import Literal

import tensorflow as tf

from keras_trainsteps import compat

from .kernels import PairKernel
from .linear import has_linear_method
from .reduce import of_rows
from .rules import PairFactor, PairRows, PairRule
from .traced import Method, sums_of_rows

Pairs = Literal["preference", "all"]
PairWeight = Literal["product", "preferred"]


# AutoGraph would rewrite every function it meets: seconds a trace, and nothing to rewrite.
@tf.autograph.experimental.do_not_convert
def pair_sums(
    kernel: PairKernel,
    y_true: tf.Tensor,
    y_pred: tf.Tensor,
    query: tf.Tensor,
    num_queries: tf.Tensor,
    *,
    pairs: Pairs = "preference",
    row_weight: tf.Tensor | None = None,
    pair_weight: PairWeight = "product",
    pair_factor: PairFactor | None = None,
    method: Method = "auto",
    list_size: int | tf.Tensor | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Totals and counts of a pairwise loss, query by query.

    For each query, `total = sum_ij P_ij phi(s_i - s_j, y_i - y_j)` and
    `count = sum_ij P_ij` over its pairs, `P_ij` being the pair's weight. Value and
    gradient come from one pass that keeps O(rows).

    A query without a pair gives 0, 0 and a gradient of 0. A score that is NaN or infinite,
    or a label that is NaN, makes the total and the gradient of its query NaN
    (`invalid.py`); other queries are untouched.

    Under XLA, where shapes are static, `static.static_sums` serves every `method`.

    Args:
        kernel: `LOGISTIC`, `HINGE`, `SQUARED_HINGE`, `SQUARED_ERROR` or
            `SOFT_ZERO_ONE`.
        y_true: Labels, shape `(rows,)`; compared in float64.
        y_pred: Scores, shape `(rows,)`, float32 or float64.
        query: Dense query index, int32, shape `(rows,)`; -1 for a row of no query.
        num_queries: An int32 scalar above every index.
        pairs: `"preference"` for the pairs with `y_i > y_j`, `"all"` for all ordered
            pairs `i != j`.
        row_weight: One weight a row, not negative; `None` for 1 each.
        pair_weight: `"product"`: a pair weighs the product of its rows' weights.
            `"preferred"`: it weighs what the row with the higher label weighs; of two
            equal labels, the mean of both.
        pair_factor: A further factor on the terms, not on the counts: lambda weights.
        method: `"exact"` visits every pair. `"linear"` takes time linear in the rows
            (times the logarithm of the number of labels). `"auto"` takes for each query
            what is faster.
        list_size: Where rows are padded lists of one size, one after the other, that size;
            under XLA an integer. Default: not known.

    Returns:
        `(totals, counts)`, each of shape `(num_queries,)`, float64: weights may be of any
        size, and float32 would lose sums of their products.
        `totals` is differentiable once, in `y_pred` alone; `counts` is a constant.

    Raises:
        ValueError: For an unknown option, for `pairs="all"` with a kernel that has no
            meaning for equal labels, and for `method="linear"` where there is no linear
            method.
        NotImplementedError: When a second derivative is asked for.
    """
    y_pred = tf.convert_to_tensor(y_pred)
    rule = _checked_rule(
        kernel, pairs, row_weight, pair_weight, pair_factor, method, y_pred.dtype
    )
    if method == "linear" and not has_linear_method(rule):
        raise ValueError(
            "`method` must be 'auto' or 'exact' where there is no linear method. Received: "
            f"'linear' for {kernel.name}, {y_pred.dtype.name} scores, `pair_weight` "
            f"{pair_weight!r}, `pair_factor` {'given' if pair_factor else None}. A linear "
            "method needs no factor, float32 scores for the hinges, and the product of weights "
            "for SQUARED_ERROR over all pairs."
        )
    fields = {} if pair_factor is None else pair_factor.fields

    def compute(scores: tf.Tensor) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        rows = PairRows(
            label=tf.cast(y_true, tf.float64),
            score=tf.cast(scores, tf.float64),
            weight=None if row_weight is None else tf.cast(row_weight, tf.float64),
            fields={name: tf.cast(value, tf.float64) for name, value in fields.items()},
        )
        index = tf.cast(query, tf.int32)
        totals, counts, slope = sums_of_rows(
            rule, method, rows, index, tf.cast(num_queries, tf.int32), list_size
        )
        return [totals, counts], [slope, index]

    totals, counts = _SLOPES(compute, y_pred)
    return totals, tf.stop_gradient(counts)


def _times_slope(
    upstream: tf.Tensor, _: tf.Tensor, scores: tf.Tensor, slope: tf.Tensor, query: tf.Tensor
) -> tf.Tensor:
    """`upstream * slope`, row by row."""
    if compat.in_xla():
        return tf.cast(of_rows(upstream, query, 0.0) * slope, scores.dtype)
    # Most losses give every query the same, and looking it up by row takes longer.
    lowest, highest = tf.reduce_min(upstream), tf.reduce_max(upstream)
    of_row = tf.cond(
        tf.equal(lowest, highest),
        lambda: tf.fill(tf.shape(query), lowest),
        lambda: of_rows(upstream, query, 0.0),
    )
    return tf.cast(of_row * slope, scores.dtype)


_SLOPES = compat.HandGradient("pair_sums", _times_slope, outputs=2)


def _checked_rule(
    kernel: PairKernel,
    pairs: str,
    row_weight: tf.Tensor | None,
    pair_weight: str,
    pair_factor: PairFactor | None,
    method: str,
    precision: tf.DType,
) -> PairRule:
    for name, value, known in (
        ("pairs", pairs, ("preference", "all")),
        ("pair_weight", pair_weight, ("product", "preferred")),
        ("method", method, ("auto", "exact", "linear")),
    ):
        if value not in known:
            choices = ", ".join(repr(choice) for choice in known)
            raise ValueError(f"`{name}` must be one of {choices}. Received: {value!r}.")
    if pairs == "all" and kernel.all_pairs is None:
        raise ValueError(
            f"`pairs` must be 'preference' for {kernel.name}, which has no meaning for "
            "rows of equal labels. Received: 'all'."
        )
    return PairRule(
        kernel,
        ties=pairs == "all",
        weighted=row_weight is not None,
        by_preferred=pair_weight == "preferred",
        factor=None if pair_factor is None else pair_factor.function,
        precision=precision,
    )
