"""The sums of a pairwise loss over the pairs of each query, with their gradient."""

from __future__ import annotations

from typing import Any, Literal

import tensorflow as tf

from keras_trainsteps import compat

from .exact import Sums, exact_sums
from .groups import group_rows
from .invalid import Invalid
from .kernels import PairKernel
from .linear import crossover, has_linear_method, linear_sums
from .reduce import count_by_group, of_rows
from .rules import PairFactor, PairRows, PairRule
from .static import static_sums

Pairs = Literal["preference", "all"]
PairWeight = Literal["product", "preferred"]
Method = Literal["auto", "exact", "linear"]


# AutoGraph would rewrite every function below: seconds a trace, and nothing to rewrite.
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
) -> tuple[tf.Tensor, tf.Tensor]:
    """Totals and counts of a pairwise loss, query by query.

    For each query, `total = sum_ij P_ij phi(s_i - s_j, y_i - y_j)` and
    `count = sum_ij P_ij` over its pairs, `P_ij` being the pair's weight. Value and
    gradient come from one pass that keeps O(rows).

    A query without a pair gives 0, 0 and a gradient of 0. A score that is NaN or infinite,
    or a label that is NaN, makes the total and the gradient of its query NaN
    (`invalid.py`); other queries are untouched.

    Under XLA, where shapes are static, every `method` is served by `static.static_sums`,
    which visits every pair.

    Args:
        kernel: `LOGISTIC`, `HINGE`, `SQUARED_HINGE`, `SQUARED_ERROR` or
            `SOFT_ZERO_ONE`.
        y_true: Labels, shape `(rows,)`, dtype of `y_pred`.
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

    Returns:
        `(totals, counts)`, each of shape `(num_queries,)` and of the dtype of `y_pred`.
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
            "method needs a kernel other than SOFT_ZERO_ONE, the product of weights, no "
            "factor, and float32 scores for the hinges."
        )
    query = tf.cast(query, tf.int32)
    num_queries = tf.cast(num_queries, tf.int32)
    fields = {} if pair_factor is None else pair_factor.fields

    @tf.custom_gradient
    def sums(scores: tf.Tensor) -> Any:
        invalid = Invalid(tf.math.is_nan(y_true), ~tf.math.is_finite(scores))
        paired, usable = invalid.leave_out(query, scores)
        rows = PairRows(
            label=_float64(y_true),
            score=_float64(usable),
            weight=None if row_weight is None else _float64(row_weight),
            fields={name: _float64(value) for name, value in fields.items()},
        )
        totals, counts, slope = _sums(rule, rows, paired, num_queries, method)
        totals, slope = invalid.spoil(totals, counts, slope, query)
        slope = tf.cast(slope, scores.dtype)

        def gradient(upstream: tf.Tensor, _: tf.Tensor) -> tf.Tensor:
            return _once(upstream, scores, slope, query)

        return (tf.cast(totals, scores.dtype), tf.cast(counts, scores.dtype)), gradient

    totals, counts = sums(y_pred)
    return totals, tf.stop_gradient(counts)


def _sums(
    rule: PairRule,
    rows: PairRows,
    query: tf.Tensor,
    num_queries: tf.Tensor,
    method: Method,
) -> Sums:
    """Totals and counts of each query, and the slope of each row, all float64."""
    if not compat.in_xla() and method != "exact" and has_linear_method(rule):
        smallest = crossover(rule) if method == "auto" else 2
        return linear_sums(rule, rows, query, num_queries, smallest=smallest)
    if compat.in_xla():
        return static_sums(rule, rows, query, num_queries)
    return exact_sums(rule, rows, group_rows(query, count_by_group(query, num_queries)))


def _once(
    upstream: tf.Tensor, scores: tf.Tensor, slope: tf.Tensor, query: tf.Tensor
) -> tf.Tensor:
    """`upstream * slope`, row by row, which refuses to be differentiated again."""

    @tf.custom_gradient
    def product(upstream: tf.Tensor, scores: tf.Tensor) -> Any:
        def refuse(_: tf.Tensor) -> Any:
            raise NotImplementedError(
                "The pair sums have a first derivative only: their gradient was asked "
                "for a gradient of its own. Received: nested gradients, as of a gradient "
                "penalty or a Hessian. Leave the pairwise loss out of the inner gradient."
            )

        # Most losses give every query the same, and looking it up by row takes longer.
        lowest, highest = tf.reduce_min(upstream), tf.reduce_max(upstream)
        of_row = tf.cond(
            tf.equal(lowest, highest),
            lambda: tf.fill(tf.shape(query), lowest),
            lambda: of_rows(upstream, query, 0.0),
        )
        return of_row * slope, refuse

    return product(upstream, scores)


def _float64(value: Any) -> tf.Tensor:
    return tf.stop_gradient(tf.cast(value, tf.float64))


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
