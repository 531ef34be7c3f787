"""The sums of a rule as a function that is traced once a process.

The graph of a model calls it as one operation. So a second model, and `evaluate` after `fit`,
trace nothing of it. It takes tensors alone and belongs to no device, so replicas share it too.

Eagerly the sums are run operation by operation, which costs less than a trace where they are
asked for once. XLA wants static shapes and gets them in its own graph. So does a pair factor
that is a closure: two closures of the same code may well mean different factors.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import tensorflow as tf

from keras_trainsteps import compat

from .exact import Sums, exact_sums
from .groups import group_rows
from .invalid import Invalid
from .kernels import SQUARED_ERROR
from .linear import crossover, has_linear_method, linear_sums
from .lists import where_lists
from .reduce import count_by_group
from .rules import PairRows, PairRule
from .static import static_sums

Method = Literal["auto", "exact", "linear"]

_KEPT = 32  # functions, the least recently used one goes


def sums_of_rows(
    rule: PairRule,
    method: Method,
    rows: PairRows,
    query: tf.Tensor,
    num_queries: tf.Tensor,
    list_size: int | tf.Tensor | None = None,
) -> Sums:
    """Totals and counts of each query, and the slope of each row, all float64."""
    if tf.executing_eagerly() or compat.in_xla() or not _is_plain(rule.factor):
        return untraced_sums(rule, method, rows, query, num_queries, list_size)
    factor = None if rule.factor is None else _Factor(rule.factor.__code__, rule.factor)
    weight = [] if rows.weight is None else [rows.weight]
    function = traced_sums(
        rule._replace(factor=None), factor, method, bool(weight), tuple(rows.fields)
    )
    columns = rows.label, rows.score, *weight, *rows.fields.values()
    size = tf.convert_to_tensor(0 if list_size is None else list_size)
    totals, counts, slope = function(query, num_queries, size, *columns)
    return totals, counts, slope


@dataclass(frozen=True)
class _Factor:
    """A function without a closure: its code is all that it is."""

    code: types.CodeType
    function: Callable[..., Any] = field(compare=False)


def _is_plain(factor: Callable[..., Any] | None) -> bool:
    return factor is None or (
        isinstance(factor, types.FunctionType)
        and (factor.__closure__, factor.__defaults__, factor.__kwdefaults__) == (None, None, None)
    )


@functools.lru_cache(maxsize=_KEPT)
def traced_sums(
    rule: PairRule,
    factor: _Factor | None,
    method: Method,
    weighted: bool,
    fields: tuple[str, ...],
) -> Callable[..., Any]:
    """The function of query, number of queries, size of lists or 0, and columns of rows."""
    if factor is not None:
        rule = rule._replace(factor=factor.function)

    def run(
        query: tf.Tensor, num_queries: tf.Tensor, list_size: tf.Tensor, *columns: tf.Tensor
    ) -> Sums:
        label, score, *others = columns
        weight = others.pop(0) if weighted else None
        rows = PairRows(label, score, weight, dict(zip(fields, others, strict=True)))
        return untraced_sums(rule, method, rows, query, num_queries, list_size)

    columns = [tf.TensorSpec((None,), tf.float64)] * (2 + weighted + len(fields))
    scalar = tf.TensorSpec((), tf.int32)
    signature = [tf.TensorSpec((None,), tf.int32), scalar, scalar, *columns]
    # Outside of any graph, replica and device that asks for it first.
    with tf.init_scope(), tf.device(None):
        # AutoGraph would rewrite all of it: seconds, and nothing to rewrite.
        function = tf.function(run, input_signature=signature, autograph=False)
        return function.get_concrete_function()


def untraced_sums(
    rule: PairRule,
    method: Method,
    rows: PairRows,
    query: tf.Tensor,
    num_queries: tf.Tensor,
    list_size: int | tf.Tensor | None = None,
) -> Sums:
    """`sums_of_rows`, operation by operation."""
    invalid = Invalid(tf.math.is_nan(rows.label), ~tf.math.is_finite(rows.score))
    paired, usable = invalid.leave_out(query, rows.score)
    totals, counts, slope = _valid_sums(
        rule, method, rows._replace(score=usable), paired, num_queries, list_size
    )
    totals, slope = invalid.spoil(totals, slope, query)
    return totals, counts, slope


def _valid_sums(
    rule: PairRule,
    method: Method,
    rows: PairRows,
    query: tf.Tensor,
    num_queries: tf.Tensor,
    list_size: int | tf.Tensor | None,
) -> Sums:
    if compat.in_xla():
        known = None if tf.is_tensor(list_size) else list_size
        return static_sums(rule, method, rows, query, num_queries, known)
    sizes = count_by_group(query, num_queries)
    if method == "exact" or not has_linear_method(rule):
        return where_lists(
            rule,
            rows,
            query,
            sizes,
            list_size,
            None,
            lambda: exact_sums(rule, rows, group_rows(query, sizes)),
        )
    if method == "linear" or (rule.kernel == SQUARED_ERROR and rule.ties):
        return linear_sums(rule, rows, query, sizes, smallest=2)
    smallest = crossover(rule)
    return where_lists(
        rule,
        rows,
        query,
        sizes,
        list_size,
        smallest - 1,
        lambda: linear_sums(rule, rows, query, sizes, smallest=smallest),
    )
