"""How far scores and labels order the rows of a query alike: Kendall and Spearman."""

from __future__ import annotations

import keras
import tensorflow as tf

from keras_trainsteps.metrics.pair_counts import pair_counts
from keras_trainsteps.metrics.query_metric import QueryMetric
from keras_trainsteps.metrics.ranked_rows import mean_of_runs, rank_rows
from keras_trainsteps.queries import RankingRows, query_order


@keras.saving.register_keras_serializable("keras_trainsteps")
class KendallTau(QueryMetric):
    """Kendall's rank correlation (tau-b) of scores and labels, averaged over queries.

    ```
    tau_b = (concordant - discordant) / sqrt((pairs - tied_scores) * (pairs - tied_labels))
    ```

    Labels that are all equal cannot be ordered: such a query does not count. Scores that are all
    equal have the value 0.
    It takes `rows * log(rows)` time.

    Args:
        query_ids: The name of the side input with the query ids, integers or strings, one
            per row. Default `"query_id"`. `None` for padded lists, `(queries, list_size)`.
        mask: The name of the side input with the mask, bool, one per row: rows where it is
            `False` are ignored. Default: none, and padded lists must have no negative label,
            as a -1 for padding.
        split_queries: A query whose rows are in two batches: `"error"` (default) refuses it,
            `"count_parts"` counts each part as a query (see `QueryMetric`).
        name: Default `"kendall_tau"`.

    Returns:
        From `result()` a float64 scalar from -1 to 1; 0 before any query, NaN after a NaN score.

    Raises:
        ValueError: From `update_state` for NaN labels (under XLA the result is NaN), and
            as `QueryMetric`.

    Example:

    >>> metric = KendallTau(query_ids="query_id")
    >>> metric.update_state([0.0, 1.0, 2.0], [1.0, 3.0, 2.0], query_ids=[5, 5, 5])
    >>> round(float(metric.result()), 6)  # two pairs alike, one not
    0.333333
    >>> from keras_trainsteps import LossAwareSequential
    >>> model = LossAwareSequential([keras.layers.Dense(1)])
    >>> model.compile("adam", "mse", metrics=[KendallTau(query_ids="user")])

    Reference:
        Kendall, "The treatment of ties in ranking problems", 1945; `scipy.stats.kendalltau`.
    """

    default_name = "kendall_tau"

    def query_values(self, rows: RankingRows) -> tuple[tf.Tensor, tf.Tensor]:
        scores, labels = (_known(values) for values in (rows.y_pred, rows.y_true))
        counts = pair_counts(rows.query, scores, labels, rows.num_queries)
        pairs, scores, labels, both, discordant = (tf.cast(x, tf.float64) for x in counts)
        balance = pairs - scores - labels + both - 2 * discordant
        norm = tf.sqrt((pairs - scores) * (pairs - labels))
        return tf.math.divide_no_nan(balance, norm), pairs > labels


@keras.saving.register_keras_serializable("keras_trainsteps")
class SpearmanRho(QueryMetric):
    """Spearman's rank correlation of scores and labels, averaged over queries.

    ```
    rho = sum_i (a_i - m) * (b_i - m) / sqrt(sum_i (a_i - m)**2 * sum_i (b_i - m)**2)
    ```

    with `a` and `b` the ranks by score and by label, of equal ones their mean, and `m` the mean
    rank. Labels that are all equal cannot be ordered: such a query does not count. Scores
    that are all equal have the value 0.

    Args:
        query_ids: The name of the side input with the query ids, integers or strings, one
            per row. Default `"query_id"`. `None` for padded lists, `(queries, list_size)`.
        mask: The name of the side input with the mask, bool, one per row: rows where it is
            `False` are ignored. Default: none, and padded lists must have no negative label,
            as a -1 for padding.
        split_queries: A query whose rows are in two batches: `"error"` (default) refuses it,
            `"count_parts"` counts each part as a query (see `QueryMetric`).
        name: Default `"spearman_rho"`.

    Returns:
        From `result()` a float64 scalar from -1 to 1; 0 before any query, NaN after a NaN score.

    Raises:
        ValueError: From `update_state` for NaN labels (under XLA the result is NaN), and
            as `QueryMetric`.

    Example:

    >>> metric = SpearmanRho(query_ids="query_id")
    >>> metric.update_state([0.0, 1.0, 2.0], [1.0, 3.0, 2.0], query_ids=[5, 5, 5])
    >>> float(metric.result())
    0.5
    >>> from keras_trainsteps import LossAwareSequential
    >>> model = LossAwareSequential([keras.layers.Dense(1)])
    >>> model.compile("adam", "mse", metrics=[SpearmanRho(query_ids="user")])

    Reference:
        Spearman, "The proof and measurement of association between two things", 1904;
        `scipy.stats.spearmanr`.
    """

    default_name = "spearman_rho"

    def query_values(self, rows: RankingRows) -> tuple[tf.Tensor, tf.Tensor]:
        ranked = rank_rows(rows, "average")
        labels = _known(ranked.y_true)
        order = query_order(ranked.query, labels)
        # In this order ranks are those by score, as places within a query do not change.
        by_label = tf.gather(labels, order)
        new = (ranked.query[1:] != ranked.query[:-1]) | (by_label[1:] != by_label[:-1])
        run = tf.concat([tf.zeros_like(order[:1]), tf.cumsum(tf.cast(new, tf.int32))], 0)
        middle = ranked.at_rows((ranked.sum(tf.ones_like(ranked.rank)) + 1) / 2)
        b = mean_of_runs(ranked.rank, run) - middle
        a = tf.gather(ranked.expected(ranked.rank), order) - middle
        spread_a, spread_b = ranked.sum(a * a), ranked.sum(b * b)
        norm = tf.sqrt(spread_a * spread_b)
        return tf.math.divide_no_nan(ranked.sum(a * b), norm), spread_b > 0


def _known(values: tf.Tensor) -> tf.Tensor:
    """The values, 0 for NaN, which the base makes NaN of the query."""
    return tf.where(tf.math.is_nan(values), tf.zeros_like(values), values)
