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
from .static_tiles import in_tiles, of_lists

_LIST_PAIRS = 2**18  # lists of up to so many pairs are one tile
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
    number = query.shape[0]
    if list_size and number * list_size <= _LIST_PAIRS:
        terms, counts, slope = of_lists(rule, rows, query, list_size)
        totals = sum_by_group(terms, query, num_queries)
        return totals, sum_by_group(counts, query, num_queries), slope
    fewest = _SMALL_BATCH if method == "auto" else SMALLEST
    if method == "exact" or number < fewest or not has_linear_method(rule):
        order = query_order(query, num_queries)
        rows, query = _taken(rows, query, order)
        terms, counts, slope = in_tiles(rule, rows, query, num_queries)
        totals = sum_by_group(terms, query, num_queries)
        counts = sum_by_group(counts, query, num_queries)
    elif rule.kernel == SQUARED_ERROR and rule.ties:
        return all_squared_errors(rows, query, num_queries)
    else:
        ranks = rank_labels(rows.label, query, num_queries)
        order = ranks.order
        rows, query = _taken(rows, query, order)
        done = sum_long_queries(
            level_sums(rule, static=True),
            rows,
            query,
            num_queries,
            ranks,
            ties=rule.ties,
            smallest=SMALLEST,
        )
        terms, counts, slope = in_tiles(rule, rows, done.left, number)
        totals = sum_by_group(terms, query, num_queries) + done.totals
        counts = sum_by_group(counts, query, num_queries) + done.counts
        slope += done.slope
    return totals, counts, tf.scatter_nd(order[:, None], slope, tf.shape(slope))


def _taken(rows: PairRows, query: tf.Tensor, order: tf.Tensor) -> tuple[PairRows, tf.Tensor]:
    return rows.unpack(tf.gather(rows.pack(), order)), tf.gather(query, order)
