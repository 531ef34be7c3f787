"""The linear methods, and which queries they are for.

This is the one place that chooses. A rule has a linear method where its pairs have no factor:

- LOGISTIC: Chebyshev nodes (`logistic.py`), for queries from `CROSSOVER` rows on. Over all
  ordered pairs, only for queries whose labels are whole numbers; the slopes of tied rows,
  which pull in both directions, are then right to 1e-14 a pair, or better.
- SOFT_ZERO_ONE: likewise.
- HINGE and SQUARED_HINGE: sorts and running sums (`hinge.py`), for float32 scores and
  queries from `HINGE_CROSSOVER` rows on, where rounding allows.
- SQUARED_ERROR: closed form (`squared.py`), for preference pairs from `CROSSOVER` rows on,
  for all ordered pairs always.

Queries of fewer rows are taken along where there are at most `_FEW` as many of them.

Under XLA the methods are the same, for queries from `static.SMALLEST` rows on.

Everything else is summed pair by pair: pair factors, hinges of float64 scores (a running sum
does not reach 1e-12), SQUARED_ERROR over all ordered pairs by the weight of the preferred row.
A factor that depends on the ranks or labels of both rows makes no product of two: lambda weights
of NDCG at k have `k` rows with a pair of every other, and others have them all.
"""

from __future__ import annotations

import tensorflow as tf

from keras_trainsteps import compat

from .exact import Sums, exact_sums
from .groups import group_rows
from .hinge import HingeSums
from .kernels import HINGE, LOGISTIC, SOFT_ZERO_ONE, SQUARED_ERROR, SQUARED_HINGE
from .levels import LevelSums, sum_by_levels
from .logistic import LogisticSums
from .reduce import count_by_group, of_rows, sum_by_group, take
from .rules import PairRows, PairRule
from .squared import SquaredErrorSums, all_squared_errors
from .static_logistic import StaticLogisticSums

CROSSOVER = 64  # rows a query from which on the linear method is faster, as measured
HINGE_CROSSOVER = 256
_FEW = 0.5  # small queries for each large one
_NODES = {tf.float32: 8, tf.float64: 13}  # one more for ties, whose slopes may be small, and
# for the steeper kernel of SOFT_ZERO_ONE
_TERMS = {tf.float32: 5, tf.float64: 8}  # likewise
_TOLERANCE = {tf.float32: 5e-7, tf.float64: 5e-13}


def has_linear_method(rule: PairRule) -> bool:
    """Whether the pairs of a rule can be summed without visiting each."""
    if rule.factor is not None:
        return False
    if rule.kernel == SQUARED_ERROR:
        return not (rule.ties and rule.weighted and rule.by_preferred)
    if rule.kernel in (HINGE, SQUARED_HINGE):
        return bool(rule.precision == tf.float32)
    return rule.kernel in (LOGISTIC, SOFT_ZERO_ONE)


def crossover(rule: PairRule) -> int:
    """The number of rows of a query from which on the linear method is faster."""
    return HINGE_CROSSOVER if rule.kernel in (HINGE, SQUARED_HINGE) else CROSSOVER


def linear_sums(
    rule: PairRule,
    rows: PairRows,
    query: tf.Tensor,
    sizes: tf.Tensor,
    *,
    smallest: int,
) -> Sums:
    """The total and the count of each query and the slope of each row, float64.

    Args:
        rule: What is summed; one that has a linear method.
        rows: The rows.
        query: Query of each row, int32 `(rows,)`; -1 for none.
        sizes: How many rows each query has, int32 `(queries,)`.
        smallest: The number of rows from which on a query is not summed pair by pair.
    """
    num_queries = tf.size(sizes)
    if rule.kernel == SQUARED_ERROR and rule.ties:
        return all_squared_errors(rows, query, num_queries)
    large = sizes >= smallest
    # A few small queries cost less among the large ones than on their own.
    chosen = large | (_number_of(~large) <= _FEW * _number_of(large))
    if rule.ties:
        fractional = tf.not_equal(rows.label, tf.floor(rows.label))
        chosen &= count_by_group(tf.where(fractional, query, -1), num_queries) < 1

    def by_levels() -> tuple[tf.Tensor, ...]:
        return _chosen_by_levels(rule, rows, query, sizes, chosen, smallest)

    def nothing() -> tuple[tf.Tensor, ...]:
        zeros = tf.zeros((num_queries,), tf.float64)
        everything = tf.constant(True)
        return zeros, zeros, tf.zeros_like(rows.score), query, tf.range(num_queries), everything

    totals, counts, slope, group, group_query, rest = tf.cond(
        tf.reduce_any(chosen), compat.loaded_when_run(by_levels), nothing
    )

    def with_the_rest() -> Sums:
        groups = group_rows(group, count_by_group(group, tf.size(group_query)))
        exact_totals, exact_counts, exact_slope = exact_sums(rule, rows, groups)
        exact_totals = sum_by_group(exact_totals, group_query, num_queries)
        exact_counts = sum_by_group(exact_counts, group_query, num_queries)
        return totals + exact_totals, counts + exact_counts, slope + exact_slope

    totals, counts, slope = tf.cond(rest, with_the_rest, lambda: (totals, counts, slope))
    return totals, counts, slope


def _chosen_by_levels(
    rule: PairRule,
    rows: PairRows,
    query: tf.Tensor,
    sizes: tf.Tensor,
    chosen: tf.Tensor,
    smallest: int,
) -> tuple[tf.Tensor, ...]:
    """Totals, counts and slopes of the chosen queries, and what is left of all queries.

    Returns:
        Totals, counts, slopes; the group in which each row is to be summed pair by pair, -1
        for none; the query of each group; and whether there is such a row.
    """
    num_queries = tf.size(sizes)
    everything = tf.equal(tf.reduce_sum(tf.where(chosen, sizes, 0)), tf.size(query))
    everything &= tf.reduce_all(chosen)
    fields = [rows.label, rows.score] + ([] if rows.weight is None else [rows.weight])

    def all_rows() -> tuple[tf.Tensor, ...]:
        return tf.range(num_queries), query, *fields

    def some_rows() -> tuple[tf.Tensor, ...]:
        queries = tf.cast(tf.where(chosen)[:, 0], tf.int32)
        some_query = of_rows(_places(chosen), query, -1)
        place = tf.where(some_query >= 0)
        return queries, *(tf.gather_nd(values, place) for values in (some_query, *fields))

    some_queries, some_query, label, score, *weight = tf.cond(everything, all_rows, some_rows)
    totals, counts, failed, some_slope, left = sum_by_levels(
        level_sums(rule),
        PairRows(label, score, weight[0] if weight else None, {}),
        some_query,
        tf.size(some_queries),
        ties=rule.ties,
        smallest=smallest,
        by_preferred=rule.weighted and rule.by_preferred,
    )

    def with_the_rest() -> tuple[tf.Tensor, ...]:
        again = take(failed, some_query)
        some_group = tf.where(left.group < 0, -1, num_queries + left.group)
        some_group = tf.where(again, take(some_queries, some_query), some_group)
        slope = tf.where(again, tf.zeros_like(some_slope), some_slope)
        query_place, is_some = _places(chosen), of_rows(chosen, query, False)
        place = _places(is_some)
        return (
            of_rows(tf.where(failed, tf.zeros_like(totals), totals), query_place, 0.0),
            of_rows(tf.where(failed, tf.zeros_like(counts), counts), query_place, 0.0),
            of_rows(slope, place, 0.0),
            tf.where(is_some, of_rows(some_group, place, -1), query),
        )

    rest = ~everything | tf.reduce_any(failed) | (tf.size(left.query) > 0)
    totals, counts, slope, group = tf.cond(
        rest, with_the_rest, lambda: (totals, counts, some_slope, query)
    )
    left_query = tf.gather(some_queries, left.query)
    group_query = tf.concat([tf.range(num_queries), left_query], axis=0)
    return totals, counts, slope, group, group_query, rest


def _number_of(chosen: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.cast(chosen, tf.float32))


def _places(chosen: tf.Tensor) -> tf.Tensor:
    """The place of each that is chosen among the chosen; -1 for the others."""
    return tf.where(chosen, tf.cumsum(tf.cast(chosen, tf.int32)), 0) - 1


def level_sums(rule: PairRule, *, static: bool = False) -> LevelSums:
    """The linear method of a rule that has one, for any shapes or for static ones."""
    if rule.kernel in (LOGISTIC, SOFT_ZERO_ONE):
        zero_one = rule.kernel == SOFT_ZERO_ONE
        more = int(rule.ties or zero_one)
        kind = StaticLogisticSums if static else LogisticSums
        nodes, terms = _NODES[rule.precision] + more, _TERMS[rule.precision] + more
        return kind(nodes, terms, rule.ties, zero_one)
    if rule.kernel == SQUARED_ERROR:
        return SquaredErrorSums(_TOLERANCE[rule.precision])
    return HingeSums(squared=rule.kernel == SQUARED_HINGE)
