"""The linear methods, and which queries they are for.

This is the one place that chooses. A rule has a linear method where its pairs weigh the
product of their rows' weights and have no factor:

- LOGISTIC: Chebyshev nodes (`logistic.py`), for queries from `CROSSOVER` rows on. Over all
  ordered pairs, only for queries whose labels are whole numbers; the slopes of tied rows,
  which pull in both directions, are then right to 1e-14 a pair, or better.
- HINGE and SQUARED_HINGE: sorts and running sums (`hinge.py`), for float32 scores and
  queries from `HINGE_CROSSOVER` rows on, where rounding allows.
- SQUARED_ERROR: closed form (`squared.py`), for preference pairs from `CROSSOVER` rows on,
  for all ordered pairs always.

Everything else is summed exactly: SOFT_ZERO_ONE, the weight of the preferred row, pair
factors, hinges of float64 scores (a running sum does not reach 1e-12).
"""

from __future__ import annotations

import tensorflow as tf

from .exact import exact_sums
from .groups import group_rows
from .hinge import HingeSums
from .kernels import HINGE, LOGISTIC, SQUARED_ERROR, SQUARED_HINGE
from .levels import LevelSums, sum_by_levels
from .logistic import LogisticSums
from .reduce import count_by_group, sum_by_group
from .rules import PairRows, PairRule
from .squared import SquaredErrorSums, all_squared_errors

CROSSOVER = 64  # rows a query from which on the linear method is faster, as measured
HINGE_CROSSOVER = 256
_NODES = {tf.float32: 5, tf.float64: 9}  # one more for ties, whose slopes may be small
_TOLERANCE = {tf.float32: 5e-7, tf.float64: 5e-13}


def has_linear_method(rule: PairRule, precision: tf.DType) -> bool:
    """Whether the pairs of a rule can be summed without visiting each."""
    if rule.factor is not None or (rule.weighted and rule.by_preferred):
        return False
    if rule.kernel in (HINGE, SQUARED_HINGE):
        return bool(precision == tf.float32)
    return rule.kernel in (LOGISTIC, SQUARED_ERROR)


def crossover(rule: PairRule) -> int:
    """The number of rows of a query from which on the linear method is faster."""
    return HINGE_CROSSOVER if rule.kernel in (HINGE, SQUARED_HINGE) else CROSSOVER


def linear_sums(
    rule: PairRule,
    rows: PairRows,
    query: tf.Tensor,
    num_queries: tf.Tensor,
    *,
    smallest: int,
    precision: tf.DType,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The total and the count of each query and the slope of each row, float64.

    Args:
        rule: What is summed; one that has a linear method.
        rows: The rows.
        query: Query of each row, int32 `(rows,)`; -1 for none.
        num_queries: A number above every query.
        smallest: The number of rows from which on a query is not summed exactly.
        precision: The dtype whose accuracy is wanted.
    """
    if rule.kernel == SQUARED_ERROR and rule.ties:
        return all_squared_errors(rows, query, num_queries)
    chosen = count_by_group(query, num_queries) >= smallest
    if rule.ties:
        fractional = tf.not_equal(rows.label, tf.floor(rows.label))
        chosen &= count_by_group(tf.where(fractional, query, -1), num_queries) < 1

    def by_levels() -> tuple[tf.Tensor, ...]:
        large = _of_rows(chosen, query, num_queries)
        totals, counts, failed, slope, left = sum_by_levels(
            _level_sums(rule, rows, precision),
            rows,
            tf.where(large, query, -1),
            num_queries,
            ties=rule.ties,
            smallest=smallest,
        )
        group = tf.where(left.group < 0, -1, num_queries + left.group)
        again = _of_rows(failed, query, num_queries)
        return (
            tf.where(failed, tf.zeros_like(totals), totals),
            tf.where(failed, tf.zeros_like(counts), counts),
            tf.where(again, tf.zeros_like(slope), slope),
            tf.where(large & ~again, group, query),
            num_queries + left.number,
        )

    def nothing() -> tuple[tf.Tensor, ...]:
        zeros = tf.zeros((num_queries,), tf.float64)
        return zeros, zeros, tf.zeros_like(rows.score), query, num_queries

    totals, counts, slope, group, number = tf.cond(tf.reduce_any(chosen), by_levels, nothing)

    def with_the_rest() -> tuple[tf.Tensor, ...]:
        terms, weights, exact_slope = exact_sums(rule, rows, group_rows(group, number))
        exact_totals = sum_by_group(terms, query, num_queries)
        exact_counts = sum_by_group(weights, query, num_queries)
        return totals + exact_totals, counts + exact_counts, slope + exact_slope

    rest = tf.reduce_any(group >= 0)
    totals, counts, slope = tf.cond(rest, with_the_rest, lambda: (totals, counts, slope))
    return totals, counts, slope


def _level_sums(rule: PairRule, rows: PairRows, precision: tf.DType) -> LevelSums:
    if rule.kernel == LOGISTIC:
        return LogisticSums(rows, _NODES[precision] + rule.ties, rule.ties)
    if rule.kernel == SQUARED_ERROR:
        return SquaredErrorSums(rows, _TOLERANCE[precision])
    return HingeSums(rows, squared=rule.kernel == SQUARED_HINGE)


def _of_rows(by_query: tf.Tensor, query: tf.Tensor, num_queries: tf.Tensor) -> tf.Tensor:
    """Whether each row's query is marked; rows of no query are not."""
    index = tf.where(query < 0, num_queries, query)
    return tf.gather(tf.concat([by_query, [False]], axis=0), index)
