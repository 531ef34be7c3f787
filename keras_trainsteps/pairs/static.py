"""Pair sums with static shapes, for XLA.

Every tensor has a size that follows from the number of rows; what depends on the batch is how
often a loop runs. Where a rule has a linear method, long queries are summed by it
(`static_levels.py`); what that leaves, and all else, pair by pair (`static_tiles.py`). Batches of
fewer than `_SMALL_BATCH` rows are compiled for pairs alone, in a third of the time.

Two things cost far more under XLA than they seem to. A sort: so rows that come query by query,
and labels that are small whole numbers, are taken as they are. And `x[i]` with an index `i` that
is computed: TensorFlow wants to know `i` when it compiles, and looks for it by interpreting all
that leads there from outside of the nearest `tf.cond`, running sums in quadratic time
(seconds to minutes, seen in 2.21). `tf.gather(x, i)` wants to know nothing.
"""

from __future__ import annotations

import tensorflow as tf

from .exact import Sums
from .kernels import SQUARED_ERROR
from .linear import has_linear_method, level_sums
from .reduce import sum_by_group
from .rules import PairRows, PairRule
from .squared import all_squared_errors
from .static_levels import query_order, rank_labels, sum_long_queries
from .static_tiles import in_tiles, of_lists, size_of

_LIST_PAIRS = 2**18  # lists of up to so many pairs are one tile
_LIKELY_ROWS = 2**12  # of lists, where their number is not known while they are traced
SMALLEST = 128  # rows of a query from which on the linear method is faster, as measured
_SMALL_BATCH = 1025  # rows of a batch from which on it is worth its compilation


def static_sums(
    rule: PairRule,
    method: str,
    rows: PairRows,
    query: tf.Tensor,
    num_queries: tf.Tensor,
    list_size: int | None,
) -> Sums:
    """The sums over the pairs of each query.

    Args:
        rule: What is summed.
        method: `"exact"`, `"linear"` or `"auto"`.
        rows: The rows.
        query: Query of each row, int32 `(rows,)`; -1 for none.
        num_queries: A number above every query.
        list_size: The size of the lists that the rows are, if they are and it is known.
    """
    number = size_of(query)
    known = isinstance(number, int)
    if list_size and (number if known else _LIKELY_ROWS) * list_size <= _LIST_PAIRS:
        terms, counts, slope = of_lists(rule, rows, query, list_size)
        totals = sum_by_group(terms, query, num_queries)
        return totals, sum_by_group(counts, query, num_queries), slope
    given = rule, rows, query, num_queries
    if method == "exact" or not has_linear_method(rule):
        return _pair_by_pair(*given)
    fewest = _SMALL_BATCH if method == "auto" else SMALLEST
    if known:
        return _pair_by_pair(*given) if number < fewest else _linear(*given)
    # XLA compiles both ways, for empty batches as well: a row of no query, and one query more.
    rows = rows.unpack(tf.pad(rows.pack(), [[0, 1], [0, 0]]))
    query = tf.pad(query, [[0, 1]], constant_values=-1)
    given = rule, rows, query, num_queries + 1
    totals, counts, slope = tf.cond(
        number < fewest, lambda: _pair_by_pair(*given), lambda: _linear(*given)
    )
    return totals[:-1], counts[:-1], slope[:-1]


def _pair_by_pair(
    rule: PairRule, rows: PairRows, query: tf.Tensor, num_queries: tf.Tensor
) -> Sums:
    order = query_order(query, num_queries)
    rows, query = _taken(rows, query, order)
    terms, counts, slope = in_tiles(rule, rows, query, num_queries)
    totals = sum_by_group(terms, query, num_queries)
    return totals, sum_by_group(counts, query, num_queries), _put_back(slope, order)


def _linear(rule: PairRule, rows: PairRows, query: tf.Tensor, num_queries: tf.Tensor) -> Sums:
    if rule.kernel == SQUARED_ERROR and rule.ties:
        return all_squared_errors(rows, query, num_queries)
    ranks = rank_labels(rows.label, query, num_queries)
    rows, query = _taken(rows, query, ranks.order)
    done = sum_long_queries(
        level_sums(rule, static=True),
        rows,
        query,
        num_queries,
        ranks,
        ties=rule.ties,
        smallest=SMALLEST,
        by_preferred=rule.weighted and rule.by_preferred,
    )
    terms, counts, slope = in_tiles(rule, rows, done.left, size_of(query))
    totals = sum_by_group(terms, query, num_queries) + done.totals
    counts = sum_by_group(counts, query, num_queries) + done.counts
    return totals, counts, _put_back(slope + done.slope, ranks.order)


def _put_back(slope: tf.Tensor, order: tf.Tensor) -> tf.Tensor:
    return tf.scatter_nd(order[:, None], slope, tf.shape(slope))


def _taken(rows: PairRows, query: tf.Tensor, order: tf.Tensor) -> tuple[PairRows, tf.Tensor]:
    return rows.unpack(tf.gather(rows.pack(), order)), tf.gather(query, order)
